"""The same facts for machines: `-f json` and `-f tsv`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.cli import main
from supervisor.cli.formats import as_tsv
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target
from tests.fakes.incidents import incident

Told = tuple[int, str, str]
Ctl = Callable[..., Told]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon with one target that answers and one that does not."""
    hung = target("code", state="BACKOFF", routable=False, verdict="hung", pid=None, summary="hung:\tfor\n14 s")
    with FakeDaemon(tmp_path / "control.sock", status=status(target("general"), hung)) as daemon:
        yield daemon


@pytest.fixture
def ctl(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Run a command; return its exit status, stdout and stderr."""

    def run(*words: str, server: str = daemon.url) -> Told:
        code = main(["--server", server, *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_status_as_json_is_the_daemons_own_document(daemon: FakeDaemon, ctl: Ctl) -> None:
    code, out, err = ctl("status", "-f", "json")

    assert (code, err) == (3, "")
    assert json.loads(out) == daemon.status


def test_status_of_some_as_json_has_those_alone(ctl: Ctl) -> None:
    code, out, _ = ctl("status", "general", "-f", "json")

    assert code == 0
    assert [each["name"] for each in json.loads(out)["targets"]] == ["general"]


def test_status_as_tsv_has_a_line_of_names_and_one_for_each(daemon: FakeDaemon, ctl: Ctl) -> None:
    code, out, err = ctl("status", "-f", "tsv")

    since = daemon.status["targets"][0]["since"]
    assert (code, err) == (3, "")
    assert [line.split("\t") for line in out.splitlines()] == [
        ["name", "kind", "state", "verdict", "routable", "pid", "uptime_s", "restarts", "since", "summary"],
        ["general", "backend", "RUNNING", "ready", "true", "4121", "60.0", "0", since, "ready"],
        ["code", "backend", "BACKOFF", "hung", "false", "", "60.0", "0", since, "hung: for 14 s"],
    ]


@pytest.mark.parametrize("form", ["json", "tsv"])
def test_what_is_for_people_is_not_among_what_is_for_machines(daemon: FakeDaemon, ctl: Ctl, form: str) -> None:
    daemon.status = status(target("general"), problems=("docker: engine unreachable",), expires_in_s=-30)

    code, out, err = ctl("status", "general", "nobody", "-f", form)

    assert code == 4
    assert "ERROR" not in out
    assert "out of date" not in out
    assert [line.partition(": ")[2].split(" ")[0] for line in err.splitlines()] == ["this", "docker:", "nobody:"]


@pytest.mark.parametrize("form", ["json", "tsv"])
def test_without_a_daemon_machines_get_nothing_but_the_exit_status(ctl: Ctl, tmp_path: Path, form: str) -> None:
    code, out, err = ctl("status", "-f", form, server=f"unix://{tmp_path}/none.sock")

    assert (code, out) == (4, "")
    assert "cannot reach the daemon" in err


def test_a_form_that_there_is_none_of_exits_2_and_names_those_there_are(ctl: Ctl) -> None:
    code, _, err = ctl("status", "-f", "xml")

    assert code == 2
    assert "'table', 'json', 'tsv'" in err


def test_a_story_as_json_is_the_daemons_own_answer(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.stories = {"code": {"name": "code", "story": "code is hung.", "statements": [], "transitions": []}}

    code, out, _ = ctl("why", "code", "-f", "json")

    assert code == 0
    assert json.loads(out) == daemon.stories["code"]


def test_incidents_as_json_are_the_daemons_own_document(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.incidents = [incident()]

    code, out, _ = ctl("incident", "list", "-f", "json")

    assert code == 0
    assert json.loads(out) == {"incidents": daemon.incidents}


def test_incidents_as_tsv_have_a_line_each_the_newest_last(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.incidents = [incident(id="later", closed_at=None, cause=None), incident(id="earlier")]

    code, out, _ = ctl("incident", "list", "-f", "tsv")

    opened, closed = daemon.incidents[1]["opened_at"], daemon.incidents[1]["closed_at"]
    assert code == 0
    assert [line.split("\t") for line in out.splitlines()] == [
        ["id", "opened_at", "closed_at", "targets", "cause", "ended"],
        ["earlier", opened, closed, "general", "out of VRAM", "our restart"],
        ["later", opened, "", "general", "", "open"],
    ]


@pytest.mark.parametrize(("form", "nothing"), [("json", {"incidents": []}), ("tsv", None)])
def test_no_incident_is_no_line_for_machines(ctl: Ctl, form: str, nothing: object) -> None:
    code, out, _ = ctl("incident", "list", "-f", form)

    assert code == 0
    assert "no incidents" not in out
    assert json.loads(out) == nothing if form == "json" else len(out.splitlines()) == 1


def test_a_list_in_a_line_is_joined_and_a_tab_in_it_is_none_of_the_tables() -> None:
    assert as_tsv(["a", "b"], [{"a": ["x\ty", "z"]}]) == ["a\tb", "x y,z\t"]
