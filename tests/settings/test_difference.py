"""What differs between two readings of the settings: told by key, never a secret, and what takes a restart."""

from pathlib import Path

import pytest

from supervisor.build import secrets
from supervisor.settings import Settings
from supervisor.settings_difference import Change, What, difference, in_force, with_only
from supervisor.settings_file import load
from tests.settings.texts import BACKEND, ROUTER, SECOND

SECRET = "hunter2-of-nothing"  # noqa: S105


def read(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load(file)


def told(file: Path, before: str, after: str) -> list[str]:
    """Return all that differs, a line each."""
    old, new = read(file, before), read(file, after)
    found = difference(old, new, secrets=(*secrets(old), *secrets(new)))
    lines = []
    for target in found.targets:
        lines += [f"{target.name}: {target.what}", *(f"{target.name}: {_line(each)}" for each in target.changes)]
    return [*lines, *map(_line, found.common)]


def _line(change: Change) -> str:
    return f"{change.key}: {change.before} -> {change.after}{' (restart)' if change.takes_restart else ''}"


def test_the_same_file_differs_in_nothing(file: Path) -> None:
    same = read(file, BACKEND + ROUTER)

    assert difference(same, read(file, f"{BACKEND}{ROUTER}# a comment")).is_nothing


def test_targets_come_change_and_go_in_the_order_of_their_names(file: Path) -> None:
    changed = BACKEND.replace('["general"]', '["general", "auto"]')

    assert told(file, BACKEND + SECOND, changed + ROUTER) == [
        "code: disappeared",
        "general: changed",
        'general: models: ["general"] -> ["general", "auto"]',
        "router: available",
    ]


def test_a_targets_own_patience_is_told_as_it_holds_for_it(file: Path) -> None:
    common, own = "[policy]\nhung_after_s = 9.0\n", "[backends.policy]\nhung_after_s = 30.0\n"

    assert told(file, common + BACKEND, common + BACKEND + own)[1:] == ["general: policy.hung_after_s: 9 -> 30"]
    assert told(file, BACKEND + own, common + BACKEND + own) == ["policy.hung_after_s: 8 -> 9"]


def test_a_target_that_becomes_a_router_says_so(file: Path) -> None:
    before = BACKEND + SECOND
    after = BACKEND + ROUTER.replace('"router"', '"code"')

    assert told(file, before, after)[:2] == ["code: changed", "code: kind: backends -> routers"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "[policy]\nhung_after_s = 9.5\n", ["policy.hung_after_s: 8 -> 9.5"]),
        ("[recovery]\nrestarts_at_once = 2\n", "", ["recovery.restarts_at_once: 2 -> 1"]),
        ("", '[daemon]\nmode = "observe"\n', ['daemon.mode: "enforce" -> "observe"']),
        ("", "[docker]\ndiscover = true\n", ["docker.discover: false -> true"]),
        ("", "[http]\nport = 9000\n", ["http.port: 8090 -> 9000 (restart)"]),
        (
            "",
            '[daemon]\nstate_dir = "/elsewhere"\n',
            ['daemon.state_dir: "/var/lib/benchai-supervisor" -> "/elsewhere" (restart)'],
        ),
        (
            "",
            '[docker]\nhost = "tcp://engine:2375"\n',
            ['docker.host: "unix:///var/run/docker.sock" -> "tcp://engine:2375" (restart)'],
        ),
        (
            "",
            '[[maintenance]]\nbegins = "02:00"\nends = "03:00"\n',
            ['maintenance: [] -> [{begins = "02:00:00", ends = "03:00:00"}]'],
        ),
    ],
)
def test_what_is_common_to_all_is_told_by_section_and_key(
    file: Path, before: str, after: str, expected: list[str]
) -> None:
    assert told(file, before + BACKEND, after + BACKEND) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f'api_key = "{SECRET}"\n'),
        (f'api_key = "{SECRET}"\n', 'api_key = "another"\n'),
        (
            'engine = "process"\ncommand = ["serve"]\n',
            f'engine = "process"\ncommand = ["serve", "--api-key", "{SECRET}"]\n',
        ),
        (
            'engine = "process"\ncommand = ["serve"]\n',
            f'engine = "process"\ncommand = ["serve"]\nenvironment = {{ X = "{SECRET}" }}\n',
        ),
        (f'api_key = "{SECRET}"\n', f'error_patterns = ["no {SECRET}"]\n'),
    ],
)
def test_a_secret_is_never_shown(file: Path, before: str, after: str) -> None:
    lines = told(file, BACKEND + before, BACKEND + after)

    assert len(lines) >= 2
    assert SECRET not in str(lines)
    assert "hidden" in str(lines)


def test_a_key_that_was_changed_is_told_from_one_that_was_set_first(file: Path) -> None:
    first, second = f'{BACKEND}api_key = "one"\n', f'{BACKEND}api_key = "two"\n'

    assert told(file, BACKEND, first)[1] == 'general: api_key: "" -> (hidden)'
    assert told(file, first, second)[1] == "general: api_key: (hidden) -> (another, hidden)"


def test_what_takes_a_restart_stays_and_the_rest_holds(file: Path) -> None:
    before = read(file, BACKEND)
    after = read(
        file, f'[daemon]\nstate_dir = "/x"\nmode = "observe"\n[http]\nport = 9000\ntoken = "t"\n{BACKEND}{SECOND}'
    )

    held = in_force(before, after)

    assert (held.daemon.state_dir, held.http.port) == (before.daemon.state_dir, 8090)
    assert (held.daemon.mode, held.http.token.get_secret_value()) == ("observe", "t")
    assert [each.name for each in held.targets] == ["general", "code"]
    assert [each.key for each in difference(held, after).common if each.takes_restart] == [
        "daemon.state_dir",
        "http.port",
    ]


def test_some_targets_alone_are_taken_over_and_nothing_else(file: Path) -> None:
    before = read(file, BACKEND + SECOND)
    after = read(file, "[policy]\nhung_after_s = 9.0\n" + BACKEND.replace("8091", "9091") + ROUTER)

    some = with_only(before, after, ["router", "code"])

    assert [each.name for each in some.targets] == ["general", "router"]
    assert (some.backends[0].url, some.policy) == (before.backends[0].url, before.policy)
    assert [each.what for each in difference(before, some).targets] == [What.DISAPPEARED, What.AVAILABLE]


def test_what_is_long_is_cut(file: Path) -> None:
    patterns = ", ".join(f'"pattern {number}"' for number in range(40))

    (_, line) = told(file, BACKEND, f"{BACKEND}error_patterns = [{patterns}]\n")

    assert line.endswith("…")
    assert len(line) < 200
