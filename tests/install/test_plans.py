"""What an installation says and writes, again and again, and what is left when it is over."""

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.cli.program import run
from supervisor.errors import InstallRefused
from supervisor.install import __main__, systemd
from supervisor.install.host import SYSTEMD_RUNS, Host
from supervisor.install.layout import (
    LOCAL,
    PACKAGED,
    PREFIX,
    RECORD,
    RULES,
    SETTINGS,
    USER,
    copies,
    digest,
    usual_prefix,
)
from tests.fakes.installing import PretendHost

WRITTEN = {str(path) for path in (*(each.to for each in copies(PREFIX)), *LOCAL.completions.values())}
LINKS = {"/usr/local/bin/benchai-supervisord", "/usr/local/bin/benchai-supervisorctl"}


@pytest.fixture
def host(tmp_path: Path) -> PretendHost:
    return PretendHost(tmp_path)


def install(host: Host, *, prefix: Path = PREFIX, docker: bool = True, dry_run: bool = False) -> list[str]:
    said: list[str] = []
    steps = systemd.install(host, prefix=prefix, source="a.whl", docker=docker)
    systemd.carry_out(steps, say=said.append, dry_run=dry_run)
    return said


def uninstall(host: Host, *, purge: bool = False, dry_run: bool = False) -> list[str]:
    said: list[str] = []
    systemd.carry_out(systemd.uninstall(host, purge=purge), say=said.append, dry_run=dry_run)
    return said


def test_a_dry_run_says_what_the_installation_says_and_does_none_of_it(host: PretendHost) -> None:
    before = host.files()

    dry = install(host, dry_run=True)
    untouched = host.files(), list(host.ran)
    done = install(host)

    assert dry == done
    assert untouched == (before, [])
    assert {line.split()[1] for line in done if line.startswith(("write", "link"))} >= WRITTEN | LINKS


def test_every_file_is_where_it_belongs_and_the_settings_are_not_for_everybody(host: PretendHost) -> None:
    install(host)

    assert host.files() == WRITTEN | LINKS | {f"{PREFIX}/pyvenv.cfg", f"{PREFIX}/{RECORD}"}
    assert host.at(SETTINGS).stat().st_mode & 0o777 == 0o640
    assert host.at(LOCAL.unit).stat().st_mode & 0o777 == 0o644
    assert f"ExecStart={PREFIX}/bin/benchai-supervisord" in host.at(LOCAL.unit).read_text()
    assert host.leads_to(Path("/usr/local/bin/benchai-supervisord")) == PREFIX / "bin/benchai-supervisord"


def test_another_prefix_is_in_the_unit_and_in_the_links(host: PretendHost) -> None:
    install(host, prefix=Path("/srv/own"))

    assert "ExecStart=/srv/own/bin/benchai-supervisord" in host.at(LOCAL.unit).read_text()
    assert str(PREFIX) not in host.at(LOCAL.unit).read_text()
    assert host.leads_to(Path("/usr/local/bin/benchai-supervisorctl")) == Path("/srv/own/bin/benchai-supervisorctl")


def test_the_user_comes_before_what_is_given_to_it_and_the_daemon_is_restarted_last(host: PretendHost) -> None:
    host.groups = {"docker": []}

    install(host)

    assert [line.split()[0] for line in host.ran[-5:]] == [
        "systemd-sysusers",
        "systemd-tmpfiles",
        "usermod",
        "systemctl",
        "systemctl",
    ]
    assert host.ran[-1] == "systemctl try-restart benchai-supervisor.service"


@pytest.mark.parametrize(("groups", "docker"), [({}, True), ({"docker": []}, False), ({"docker": [USER]}, True)])
def test_docker_is_given_only_where_there_is_one_and_nobody_says_no(
    host: PretendHost, groups: dict[str, list[str]], *, docker: bool
) -> None:
    host.groups = groups

    said = install(host, docker=docker)

    assert [line for line in (*said, *host.ran) if "usermod" in line] == []


def test_twice_is_an_upgrade_that_leaves_what_is_right(host: PretendHost) -> None:
    install(host)
    host.at(LOCAL.unit).write_text("[Service]\n# of an older version\n")

    said = install(host)

    assert f"write  {LOCAL.unit} (a newer one)" in said
    assert f"keep   {SETTINGS} (as it is)" in said
    assert "ExecStart=" in host.at(LOCAL.unit).read_text()


def test_what_somebody_else_put_where_ours_belongs_is_set_aside_and_not_lost(host: PretendHost) -> None:
    command = Path("/usr/local/bin/benchai-supervisorctl")
    for path in (LOCAL.unit, command):
        host.write(path, b"mine", 0o755)

    said = install(host)
    again = install(host)

    assert f"move   {command} to {command}.old (it is not ours, or was edited)" in said
    assert {host.at(Path(f"{path}.old")).read_text() for path in (LOCAL.unit, command)} == {"mine"}
    assert "ExecStart=" in host.at(LOCAL.unit).read_text()
    assert host.leads_to(command) == PREFIX / "bin/benchai-supervisorctl"
    assert [line for line in again if line.startswith("move")] == []


def test_what_we_have_written_ourselves_is_renewed_without_a_copy(host: PretendHost) -> None:
    install(host)
    older = b"[Service]\n# of an older version\n"
    unit = next(each for each in copies(PREFIX) if each.to == LOCAL.unit)
    host.write(LOCAL.unit, older, 0o644)
    record = host.at(PREFIX / RECORD)
    record.write_text(record.read_text().replace(unit.digest, digest(older)))

    install(host)

    assert host.at(LOCAL.unit).read_bytes() == unit.content
    assert f"{LOCAL.unit}.old" not in host.files()


def test_an_environment_whose_making_was_cut_off_is_ours_to_make_again(host: PretendHost) -> None:
    def cut_off(*command: str) -> str:
        if "venv" in command:
            host.write(PREFIX / "lib/half", b"", 0o644)
            raise KeyboardInterrupt
        return ""

    run, host.run = host.run, cut_off  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        install(host)
    host.run = run  # type: ignore[method-assign]

    install(host)

    assert host.files() >= WRITTEN


def test_where_no_prefix_is_said_the_one_in_the_unit_is_meant(host: PretendHost, tmp_path: Path) -> None:
    own = tmp_path / "own"
    unit = host.at(LOCAL.unit)
    before = usual_prefix(unit)
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nExecStart={own}/bin/benchai-supervisord --settings x\n")
    not_made_by_us = usual_prefix(unit)
    own.mkdir()
    (own / RECORD).touch()

    assert before == not_made_by_us == PREFIX
    assert usual_prefix(unit) == own


def test_what_was_edited_by_hand_is_kept_and_what_would_be_new_lies_beside_it(host: PretendHost) -> None:
    install(host)
    host.at(SETTINGS).write_text("mine")
    same = install(host)
    record = host.at(PREFIX / RECORD)
    record.write_text(record.read_text().replace(copies(PREFIX)[0].digest, "of an older version"))

    newer = install(host)

    assert f"keep   {SETTINGS} (edited by hand)" in same
    assert [line for line in same if ".new" in line] == []
    assert f"write  {SETTINGS}.new (what it would be now)" in newer
    assert host.at(SETTINGS).read_text() == "mine"
    assert host.at(Path(f"{SETTINGS}.new")).read_bytes() == copies(PREFIX)[0].content


def test_what_was_never_edited_is_renewed(host: PretendHost) -> None:
    install(host)
    was = b"// an older rule\n"
    host.at(RULES).write_bytes(was)
    record, (rule,) = host.at(PREFIX / RECORD), (each for each in copies(PREFIX) if each.to == RULES)
    record.write_text(record.read_text().replace(rule.digest, digest(was)))

    install(host)

    assert host.at(RULES).read_bytes() == rule.content


def test_settings_that_were_there_before_us_are_somebodys(host: PretendHost) -> None:
    host.at(SETTINGS).parent.mkdir(parents=True)
    host.at(SETTINGS).write_text("mine")

    said = install(host)

    assert f"keep   {SETTINGS} (edited by hand)" in said
    assert host.at(SETTINGS).read_text() == "mine"


def test_an_environment_of_another_python_is_made_anew_and_the_same_one_is_kept(host: PretendHost) -> None:
    made = install(host)[0]
    version = made.split("Python ")[1].split(",")[0]
    host.write(PREFIX / "pyvenv.cfg", f"version = {version}.9\n".encode(), 0o644)
    kept, command = install(host)[0], host.ran[-1]
    host.write(PREFIX / "pyvenv.cfg", b"version = 3.9.1\n", 0o644)
    host.ran.clear()

    install(host)

    assert made.startswith("make ")
    assert kept.startswith("keep ")
    assert "--clear" not in command
    assert host.ran[0].endswith(f"-m venv --clear {PREFIX}")


def test_an_uninstallation_leaves_settings_and_history_alone(host: PretendHost) -> None:
    install(host)
    host.at(Path("/var/lib/benchai-supervisor")).mkdir(parents=True)
    host.ran.clear()

    dry = uninstall(host, dry_run=True)
    untouched = host.files()
    said = uninstall(host)

    assert dry == said
    assert untouched >= WRITTEN
    assert host.files() == {str(SETTINGS)}
    assert host.ran == ["systemctl disable --now benchai-supervisor.service", "systemctl daemon-reload"]
    assert [line for line in said if line.startswith("keep")] == [
        "keep   /etc/benchai-supervisor (--purge removes it)",
        "keep   /var/lib/benchai-supervisor (--purge removes it)",
    ]


def test_purged_nothing_is_left_not_even_the_user(host: PretendHost) -> None:
    install(host)
    host.users = {USER}

    uninstall(host, purge=True)

    assert host.files() == set()
    assert host.ran[-1] == f"userdel {USER}"


def test_a_user_whose_models_run_on_is_no_reason_to_fail(host: PretendHost) -> None:
    install(host)
    host.users, host.fails = {USER}, {"userdel": InstallRefused("user benchai-supervisor is currently used")}

    uninstall(host, purge=True)

    assert host.files() == set()


def test_where_nothing_is_installed_there_is_nothing_to_remove(host: PretendHost) -> None:
    assert uninstall(host, purge=True) == []


def test_a_link_and_a_folder_of_somebody_else_are_not_removed(host: PretendHost) -> None:
    host.link(Path("/usr/local/bin/benchai-supervisorctl"), Path("/home/me/.local/bin/benchai-supervisorctl"))
    host.write(PREFIX / "notes.txt", b"mine", 0o644)

    uninstall(host)

    assert host.files() == {"/usr/local/bin/benchai-supervisorctl", f"{PREFIX}/notes.txt"}
    with pytest.raises(InstallRefused, match="something else is there"):
        install(host)


def test_after_a_failure_the_same_command_goes_on(host: PretendHost) -> None:
    host.fails = {"--require-hashes": InstallRefused("pip: no network")}
    with pytest.raises(InstallRefused, match="no network"):
        install(host)
    host.fails = {}

    install(host)

    assert host.files() >= WRITTEN


def test_where_systemd_does_not_run_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallRefused, match=rf"no {SYSTEMD_RUNS}\): .*as a container"):
        install(Host(tmp_path))


def test_beside_the_debian_package_it_is_refused(host: PretendHost) -> None:
    host.write(PACKAGED.unit, b"", 0o644)

    with pytest.raises(InstallRefused, match="apt-get remove"):
        install(host)


@pytest.mark.parametrize("prefix", ["opt/own", "/opt", "/", "/opt/../etc", "/opt/my own"])
def test_a_prefix_that_is_not_ones_own_to_give_is_refused(host: PretendHost, prefix: str) -> None:
    with pytest.raises(InstallRefused, match="a directory of its own"):
        install(host, prefix=Path(prefix))


def test_a_command_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(InstallRefused, match=r"sh -c echo no room.*: failed with 3: no room"):
        Host(tmp_path).run("sh", "-c", "echo no room >&2; exit 3")
    with pytest.raises(InstallRefused, match="/no/such/program"):
        Host(tmp_path).run("/no/such/program")


def test_an_unknown_record_is_no_reason_to_fail(host: PretendHost) -> None:
    install(host)
    host.at(PREFIX / RECORD).write_text("{")

    assert host.record(PREFIX) == {}
    assert f"keep   {LOCAL.tmpfiles} (as it is)" in install(host)


def test_the_commands_say_what_is_missing_here(capsys: pytest.CaptureFixture[str]) -> None:
    if SYSTEMD_RUNS.exists():  # then a dry run tells what it would do
        assert run(["install", "--systemd", "--dry-run"]) == 0
        return
    assert run(["install", "--systemd", "--dry-run"]) == run(["uninstall", "--dry-run"]) == 1
    assert __main__.main(["--dry-run"]) == __main__.main(["--uninstall", "--dry-run"]) == 1
    assert capsys.readouterr().err.count("systemd does not run here") == 4


def test_what_shall_run_it_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install"]) == 2
    assert "--systemd" in capsys.readouterr().err


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = "import supervisor.install.systemd, supervisor.install.__main__, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {
        "supervisor",
        "__main__",
    } == set()
