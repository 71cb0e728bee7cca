"""Units, their scripts and cron tables that kill model servers, as they are written in a tree of files."""

from pathlib import Path

import pytest

from supervisor.doctor.checks.orphan_killers import look
from tests.doctor.patient import around, backend, found, router, words

TARGETS = backend("general", port=8091, engine="docker", container="benchai-general") + router(
    port=8085, engine="systemd", unit="benchai.service"
)


def written(root: Path, path: str, text: str) -> Path:
    """Write a file into a tree."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def told(tmp_path: Path, root: Path) -> list[str]:
    """Return what is found in a tree."""
    return words(found(look, around(tmp_path, TARGETS, root=root)))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ExecStartPre=-/usr/bin/pkill -9 llama-server", "kills every model server (pkill -9 llama-server"),
        ("ExecStop=/bin/sh -c 'killall -q llama_server; true'", "kills every model server (killall -q llama_server"),
        ("ExecStartPre=/bin/fuser -k 8091/tcp", "kills whoever listens on general's port (fuser -k 8091/tcp"),
        ("ExecStartPre=/bin/fuser -n tcp 8091 -k", "kills whoever listens on general's port (fuser -n tcp 8091"),
        ("ExecStartPre=/bin/fuser -k -n tcp 8091", "kills whoever listens on general's port (fuser -k -n tcp 8091"),
        ("ExecStartPre=/bin/fuser -v 8091/tcp", ""),
        ("ExecStartPre=/bin/fuser -k 9999/tcp", ""),
        ("ExecStart=/usr/bin/docker restart benchai-general", "runs `docker restart benchai-general`"),
        ("ExecStart=/usr/bin/docker restart another", ""),
        ("Description=pkill llama-server", ""),
        ("# ExecStartPre=/usr/bin/pkill llama-server", ""),
        ("ExecStartPre=/usr/bin/pkill chrome", ""),
    ],
)
def test_a_units_commands_are_read(tmp_path: Path, line: str, says: str) -> None:
    path = written(tmp_path / "root", "etc/systemd/system/other.service", f"[Service]\n{line}\n")

    seen = told(tmp_path, tmp_path / "root")

    if not says:
        assert seen == []
    else:
        assert seen[0].startswith("error ")
        assert f"other.service {says}" in seen[0]
        assert str(path) in seen[0]


def test_a_router_that_clears_its_own_port_is_only_mentioned(tmp_path: Path) -> None:
    root = tmp_path / "root"
    written(root, "etc/systemd/system/benchai.service", "[Service]\nExecStartPre=/bin/fuser -k 8085/tcp\n")

    assert told(tmp_path, root) == ["note router: benchai.service kills whoever holds its own port (fuser -k 8085/tcp)"]


def test_drop_ins_and_lines_that_go_on_are_read_too(tmp_path: Path) -> None:
    root = tmp_path / "root"
    written(
        root,
        "etc/systemd/system/benchai.service.d/10-clean.conf",
        "[Service]\nExecStartPre=/bin/sh -c \\\n 'pkill -f llama-server'\n",
    )

    (seen,) = told(tmp_path, root)

    assert seen.startswith("error -: benchai.service kills every model server (pkill -f llama-server")


def test_the_script_that_a_unit_runs_is_read_and_its_comments_are_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    written(root, "etc/systemd/system/benchai.service", "[Service]\nExecStartPre=/opt/clean.sh --all\n")
    script = written(root, "opt/clean.sh", "#!/bin/sh\n# pkill vllm\npkill -9 -f 'llama-server.*8091'\n")

    (seen,) = told(tmp_path, root)

    assert f"{script}" in seen
    assert "pkill -9 -f 'llama-server" in seen


def test_cron_tables_are_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    written(root, "etc/cron.d/models", "0 4 * * * root docker restart benchai-general\n# pkill llama-server\n")

    (seen,) = told(tmp_path, root)

    assert seen.startswith("error general: ")
    assert "runs `docker restart benchai-general`" in seen


def test_our_own_unit_is_no_stranger(tmp_path: Path) -> None:
    root = tmp_path / "root"
    written(root, "etc/systemd/system/benchai-supervisor.service", "[Service]\nExecStop=/usr/bin/pkill llama-server\n")

    assert told(tmp_path, root) == []
