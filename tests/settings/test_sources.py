"""Where settings come from, what comes before what, and what is said where nothing can be read."""

import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from supervisor.core.policy import Policy
from supervisor.errors import SettingsError
from supervisor.settings import ENV_PREFIX
from supervisor.settings_file import find, load
from tests.settings.texts import BACKEND, OURS, SECOND, complaint


def test_a_targets_own_patience_comes_before_the_common_one_and_that_before_the_default(file: Path) -> None:
    file.write_text(
        f"[policy]\nconfirm_s = 50\nstartup_limit_s = 200\n{BACKEND}policy = {{ startup_limit_s = 600 }}\n{SECOND}"
    )

    settings = load(file)

    general, code = (settings.policy_of(each) for each in settings.backends)
    assert general == Policy(confirm_s=50, startup_limit_s=600)
    assert code == Policy(confirm_s=50, startup_limit_s=200)


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f"[http]\nport = 9000\nhost = '127.0.0.1'\n[policy]\ntick_s = 1.5\n{BACKEND}")
    monkeypatch.setenv("BENCHAI_SUPERVISOR_HTTP__PORT", "9001")
    monkeypatch.setenv("BENCHAI_SUPERVISOR_POLICY__TICK_S", "3")
    monkeypatch.setenv("BENCHAI_SUPERVISOR_PROCESS__STOP_ON_EXIT", "true")
    monkeypatch.setenv("benchai_supervisor_http__token", "secret")

    settings = load(file)

    assert (settings.http.port, settings.http.host) == (9001, "127.0.0.1")
    assert settings.policy_of().tick_s == 3.0
    assert settings.process.stop_on_exit is True
    assert settings.http.token == SecretStr("secret")


def test_lists_come_from_the_environment_as_json_and_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(BACKEND + SECOND)
    backends = [{"name": "math", "url": "http://127.0.0.1:8095", "models": ["math"], "policy": {"confirm_s": 5}}]
    monkeypatch.setenv("BENCHAI_SUPERVISOR_BACKENDS", json.dumps(backends))

    settings = load(file)

    assert [each.name for each in settings.backends] == ["math"]
    assert settings.policy_of(settings.backends[0]).confirm_s == 5.0


def test_the_commands_own_variables_are_no_settings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(BACKEND)
    for name in ("SETTINGS", "SERVER", "TOKEN"):
        monkeypatch.setenv(f"{ENV_PREFIX}{name}", "whatever")

    assert load(file).backends[0].name == "general"


def test_the_file_given_comes_before_the_one_in_the_environment_and_that_before_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing_there = find(None)
    (tmp_path / "settings.toml").touch()
    here = find(None)
    monkeypatch.setenv(f"{ENV_PREFIX}SETTINGS", "/named.toml")

    assert nothing_there == Path("/etc/benchai-supervisor/settings.toml")
    assert here == Path("settings.toml")
    assert find(None) == Path("/named.toml")
    assert find(Path("/given.toml")) == Path("/given.toml")


def test_a_missing_file_is_told_with_what_to_do(file: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"no such file; copy the project's settings\.toml there, or name the one that you have"
    ):
        load(file)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path)

    assert str(raised.value) == f"{tmp_path}: cannot be read (Is a directory); check the path and its permissions"


def test_a_file_that_may_not_be_read_is_told(file: Path) -> None:
    file.write_text(BACKEND)
    file.chmod(0)
    me = os.geteuid()

    if me == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(SettingsError) as raised:
            load(file)
    finally:
        os.seteuid(me)

    assert str(raised.value) == f"{file}: cannot be read (Permission denied); check the path and its permissions"


@pytest.mark.parametrize(
    "content",
    [b"port = ", b"[http", b"a = 1\na = 2", b"\xff\xfe", b'name = "general', b"a = " + b"[" * 5000],
    ids=["half", "bracket", "twice", "not-utf-8", "quote", "nested"],
)
def test_what_is_not_toml_is_told_with_its_place(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    with pytest.raises(SettingsError) as raised:
        load(file)

    assert str(raised.value).startswith(f"{file}: is not TOML: ")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("HTTP__PROT", "1", '__PROT = "1": is not a key we know; did you mean port?'),
        ("HTTP__PORT", "abc", '__PORT = "abc": must be a whole number'),
        ("HTTP__PORT", "", '__PORT = "": must be a whole number'),
        ("POLICY__TICK_S", "-1", '__TICK_S = "-1": must be greater than 0'),
        ("POLICY__TICKS", "1", '__TICKS = "1": is not a key we know; did you mean tick_s?'),
        ("HTTP", '{"port": 99999}', ".port = 99999: must be at most 65535"),
        (
            "HTTP_PORT",
            "1",
            ' = "1": sets nothing; section and key are joined by two underscores, e.g. BENCHAI_SUPERVISOR_HTTP__PORT',
        ),
        (
            "BACKENDS",
            "general",
            " is not JSON; write lists and tables there as JSON, in single quotes for the shell",
        ),
        (
            "BACKENDS",
            '[{"name": "x", "url": 3, "models": ["x"]}]',
            '[0].url = 3: must be a text in quotes: "text"',
        ),
        (
            "BACKENDS__0__URL",
            "http://x",
            " = {…}: must be a list: [[backends]] in two brackets for each of them"
            " (in the environment: JSON, and whole)",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_told_by_its_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}{name}", value)

    told = complaint(file, BACKEND)

    variable = name if line.startswith((" ", ".", "[")) else name.rpartition("__")[0]
    assert told == f"environment: {ENV_PREFIX}{variable}{line}"


def test_settings_are_frozen() -> None:
    settings = load(OURS)

    with pytest.raises(ValueError, match="frozen"):
        settings.http.port = 1
    assert settings.http.port == 8090
