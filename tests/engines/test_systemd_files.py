"""What is read of a unit beside the bus: its control group's files, of both versions, and its journal."""

from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from supervisor.engines import systemd_cgroup, systemd_journal
from testbed.systemd_host import in_container, obstacle
from tests.cannot import cannot
from tests.engines.bench import BURNS, OBEYS, become, ended, start, ups
from tests.engines.systemd_bench import SystemdBench

GROUP = "/system.slice/benchai.service"


@pytest.fixture
async def old(engine: docker.DockerClient) -> AsyncIterator[SystemdBench]:
    """A bench on a host with control groups of version 1."""
    if reason := obstacle():
        cannot(f"no systemd: {reason}")
    with in_container(engine, cgroups=1) as host:
        bench = SystemdBench(host)
        yield bench
        await bench.close()


async def test_cpu_time_and_processes_are_told_with_control_groups_of_version_1(old: SystemdBench) -> None:
    name = old.make(BURNS, CPUAccounting="no")
    await start(old, name)

    async def burns() -> bool:
        return (await old.engine.cpu_s(name) or 0.0) > 0.1

    assert await become(f"{name} burns CPU", burns)
    assert len((await old.engine.describe(name)).processes) == 1


async def test_the_file_of_a_control_group_tells_what_systemd_tells(units: SystemdBench) -> None:
    name = units.make(BURNS)
    await start(units, name)

    by_bus = await units.engine.cpu_s(name)
    by_file = systemd_cgroup.cpu_s(f"/system.slice/{name}", root=units.host.root)

    assert by_bus is not None
    assert by_file is not None
    assert 0 <= by_file - by_bus < 5


@pytest.mark.parametrize(
    ("file", "text", "burned_s"),
    [
        (f"{GROUP}/cpu.stat", "usage_usec 1500000\nuser_usec 7\n", 1.5),
        (f"unified{GROUP}/cpu.stat", "usage_usec 1500000\n", 1.5),
        (f"cpuacct{GROUP}/cpuacct.usage", "1500000000\n", 1.5),
        (f"cpu,cpuacct{GROUP}/cpuacct.usage", "1500000000\n", 1.5),
        (f"cpu{GROUP}/cpu.stat", "nr_periods 0\n", None),
        (f"{GROUP}/cpu.stat", "usage_usec soon\n", None),
    ],
)
def test_cpu_time_is_found_wherever_a_kernel_keeps_it(
    tmp_path: Path, file: str, text: str, burned_s: float | None
) -> None:
    path = tmp_path / "sys/fs/cgroup" / file.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_text(text)

    assert systemd_cgroup.cpu_s(GROUP, root=tmp_path) == burned_s


@pytest.mark.parametrize(
    ("init", "own", "other"),
    [
        ("0::/init.scope", f"0::{GROUP}", "0::/system.slice/benchai.service2"),
        ("0::/docker/4f1e/init.scope", f"0::/docker/4f1e{GROUP}/below", f"0::{GROUP}"),
        ("9:name=systemd:/init.scope\n0::/x", f"9:name=systemd:{GROUP}\n0::/x", "9:name=systemd:/x\n0::/x"),
    ],
    ids=["version-2", "in-a-container", "version-1"],
)
def test_a_process_is_a_units_by_where_it_is_in_systemds_own_tree(
    tmp_path: Path, init: str, own: str, other: str
) -> None:
    for pid, groups in enumerate((init, own, other), start=1):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"{groups}\n")

    assert systemd_cgroup.pids(GROUP, proc=tmp_path) == [2]
    assert systemd_cgroup.pids("", proc=tmp_path) == []


def test_without_systemd_nobody_is_a_units(tmp_path: Path) -> None:
    assert systemd_cgroup.pids(GROUP, proc=tmp_path) == []


async def test_systemds_own_words_about_a_unit_are_not_in_its_log(units: SystemdBench) -> None:
    name = units.make("print('so it said', flush=True); raise SystemExit(3)")
    await units.engine.start(name)
    await ended(units, name)

    assert await units.engine.log_tail(name, max_bytes=10_000) == "so it said\n"


async def test_a_log_goes_back_to_earlier_lives(units: SystemdBench) -> None:
    name = units.make(OBEYS)
    await start(units, name)
    await units.engine.restart(name, grace_s=5)

    await ups(units, name, 2)

    assert await units.engine.log_tail(name, max_bytes=5) == "p\nup\n"


async def test_what_is_no_text_is_read_as_it_was_printed(units: SystemdBench) -> None:
    name = units.make(r"import sys; sys.stdout.buffer.write(b'\xff\x01\n\n  so\n')")
    await units.engine.start(name)
    await ended(units, name)

    assert await units.engine.log_tail(name, max_bytes=100) == "\ufffd\x01\n  so\n"


@pytest.mark.parametrize(
    ("entry", "printed"),
    [
        (b'{"MESSAGE": "up"}', b"up\n"),
        (b'{"MESSAGE": "up", "_LINE_BREAK": "eof"}', b"up"),
        (b'{"MESSAGE": [255, 10]}', b"\xff\n\n"),
        (b'{"MESSAGE": null}', b"\n"),
        (b'{"MESSAGE": ["one", "two"]}', b""),
        (b"{", b""),
        (b"[]", b""),
    ],
)
def test_an_entry_of_the_journal_is_what_was_printed(entry: bytes, printed: bytes) -> None:
    assert systemd_journal.Entry.of(entry).text == printed


async def test_nothing_is_read_where_nothing_is_asked_for() -> None:
    assert await systemd_journal.tail("x.service", max_bytes=0, limit_s=1.0, journalctl=("/no/such/program",)) == ""
