"""The client is one file to copy: alone in an empty folder it does all that it does here, on Python 3.9 too."""

import ast
import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import supervisor.client
from testbed import old_python
from testbed.debian import NotToBeHad
from tests.cannot import cannot
from tests.fakes.documents import document, entry, out, publish
from tests.fakes.ear import Ear, wait_until
from tests.fakes.stream import FakeStream

OLDEST = (3, 9)
NAME = "liveness_client"
# -I: no folder but its own, no PYTHON… of ours; -S: no site-packages; -W error: nothing that will be gone one day.
ALONE = ("-I", "-S", "-W", "error")


def source_of_client() -> str:
    return Path(supervisor.client.__file__).read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A folder with the file in it, and an interpreter that has nothing else."""

    python: Path
    folder: Path

    def run(self, program: str) -> Any:
        """Return what the program prints, as JSON; whatever else it says fails the test."""
        head = f"import sys; sys.path.insert(0, {str(self.folder)!r})\n"
        command = [str(self.python), *ALONE, "-c", head + textwrap.dedent(program)]
        ran = subprocess.run(command, cwd=self.folder, env={}, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        return json.loads(ran.stdout)


@pytest.fixture(params=[sys.version_info[:2], OLDEST], ids=["our-python", "python-3.9"])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Alone:
    try:
        python = old_python.ensure(".".join(map(str, request.param)))
    except NotToBeHad as problem:
        cannot(str(problem))
    (tmp_path / "empty").mkdir()
    shutil.copy(supervisor.client.__file__, tmp_path / "empty" / f"{NAME}.py")
    return Alone(python=python, folder=tmp_path / "empty")


@pytest.fixture
def stream() -> Iterator[FakeStream]:
    # Somebody may have to wait for a slow machine.
    with FakeStream(document(entry("code"), out("vision"), now_s=time.time(), valid_for_s=600.0)) as stream:
        yield stream


def test_it_is_the_python_that_it_is_said_to_be_and_has_no_packages(alone: Alone) -> None:
    told = alone.run("import json, sys; print(json.dumps([list(sys.version_info[:2]), sys.path]))")

    assert tuple(told[0]) in (sys.version_info[:2], OLDEST)
    assert not [each for each in told[1] if "site-packages" in each or "dist-packages" in each]


def test_from_a_file_it_picks_and_says_when_to_come_back(alone: Alone, tmp_path: Path) -> None:
    publish(tmp_path / "liveness.json", document(entry("code"), out("vision"), now_s=time.time(), valid_for_s=600.0))

    told = alone.run(f"""
        import asyncio, json
        from {NAME} import Backend, Liveness

        liveness = Liveness({str(tmp_path / "liveness.json")!r}, own_table=[Backend("math", "http://127.0.0.1:1")])
        later = asyncio.run(liveness.pick_async("vision", "code"))
        print(json.dumps([
            [backend.name for backend in liveness.pick("vision", "code").candidates],
            liveness.is_routable("vision"), liveness.retry_after("vision"), liveness.pick("vision").refuse,
            liveness.pick("math").backend.url, later.backend.name,
        ]))
    """)

    assert told == [["code"], False, 12.0, True, "http://127.0.0.1:1", "code"]


def test_from_an_address_it_fetches_again_and_keeps_what_it_has(alone: Alone, stream: FakeStream) -> None:
    told = alone.run(f"""
        import asyncio, json
        from {NAME} import Liveness

        liveness = Liveness({stream.url!r}, poll_s=0.0)
        before = liveness.pick("code").backend.name
        liveness.refresh()
        asked = asyncio.run(liveness.snapshot_async()).known
        nobody = Liveness("unix:///nobody.sock").pick("code")
        print(json.dumps([before, asked, nobody.known, nobody.refuse]))
    """)

    assert told == ["code", True, False, False]
    assert len(stream.fetched) >= 2


def test_it_follows_a_stream_in_a_program_and_in_each_of_its_forks(alone: Alone, stream: FakeStream) -> None:
    """As with a server that loads the application first and then forks its workers."""
    program = f"""
        import json, os, threading, time, warnings
        from {NAME} import Liveness

        warnings.simplefilter("ignore")  # newer Pythons warn of forks where there are threads

        def wait_until(holds):
            deadline = time.monotonic() + 20
            while not holds():
                assert time.monotonic() < deadline
                time.sleep(0.005)

        def followers():
            return [each.name for each in threading.enumerate()].count("liveness stream")

        def keep_fetching():
            while not done.is_set():
                liveness.refresh()
                time.sleep(0.001)

        def follow_to_the_end():
            assert liveness.pick("code").known, "from before the fork"
            wait_until(lambda: liveness.pick("code").refuse)
            assert followers() == 1
            liveness.close()
            wait_until(lambda: not followers())

        liveness = Liveness({stream.url!r}, follow=True)
        done = threading.Event()
        fetching = threading.Thread(target=keep_fetching)
        fetching.start()  # at the moment of a fork it may hold any lock
        wait_until(lambda: liveness.snapshot().known and followers() == 1)
        children = []
        for _ in range(5):
            child = os.fork()
            if not child:
                follow_to_the_end()
                os._exit(0)
            children.append(child)
        done.set()
        fetching.join()
        ends = [os.waitpid(child, 0)[1] for child in children]
        follow_to_the_end()
        print(json.dumps(ends))
    """
    with ThreadPoolExecutor(1) as aside:
        ran = aside.submit(alone.run, program)
        wait_until(lambda: stream.open == 6 or ran.done())
        stream.tell(document(out("code"), now_s=time.time(), valid_for_s=600.0, revision=2))

    assert ran.result() == [0] * 5
    assert len(stream.opened) == 6


def test_a_fork_holds_no_copy_of_its_parents_stream(alone: Alone, stream: FakeStream) -> None:
    """It would keep it open when the parent is gone, and never read it."""
    told = alone.run(f"""
        import json, os, threading, time, warnings
        from {NAME} import Liveness

        warnings.simplefilter("ignore")

        def sockets():
            names = [f"/proc/self/fd/{{name}}" for name in os.listdir("/proc/self/fd")]
            return sum(os.readlink(name).startswith("socket:") for name in names if os.path.lexists(name))

        def follow():
            before = liveness.snapshot()
            while liveness.snapshot() is before or not sockets():
                time.sleep(0.005)
            return sockets()

        liveness = Liveness({stream.url!r}, follow=True)
        of_parent = follow()
        child = os.fork()
        if not child:
            os._exit(follow())
        print(json.dumps([of_parent, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]))
    """)

    assert told == [1, 1]


def test_it_reports_how_a_request_went(alone: Alone) -> None:
    with Ear() as ear:
        alone.run(f"""
            from {NAME} import Liveness

            liveness = Liveness("nowhere.json", report_to={ear.url!r})
            liveness.report("code", ok=False, error="answered 500")
            liveness.report("code", ok=True, first_token_s=0.4)
            liveness.close()
            print("null")
        """)
        wait_until(lambda: len(ear.reports) == 2)

    assert [(each["ok"], each["error"], each["first_token_s"]) for each in ear.reports] == [
        (False, "answered 500", None),
        (True, "", 0.4),
    ]


def test_the_file_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(source_of_client())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]

    modules = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}

    assert all(isinstance(node, ast.Import) or node.level == 0 for node in imports)
    assert {module.split(".")[0] for module in modules} <= sys.stdlib_module_names


def test_the_files_grammar_is_that_of_python_3_9() -> None:
    assert ast.parse(source_of_client(), feature_version=OLDEST)
