"""`reread`, `update`, `reload`, `add` and `remove`, in supervisorctl's words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Ctl
from tests.fakes.daemon import FakeDaemon
from tests.fakes.documents import status, target

URL = {"key": "url", "before": '"http://a:1"', "after": '"http://a:2"', "takes_restart": False}
KEY = {"key": "api_key", "before": None, "after": "(hidden)", "takes_restart": False}
PORT = {"key": "http.port", "before": "8090", "after": "9000", "takes_restart": True}
TARGETS = [
    {"name": "code", "what": "changed", "note": "what runs goes on", "changes": [URL, KEY]},
    {"name": "math", "what": "available", "note": "", "changes": []},
    {"name": "vision", "what": "disappeared", "note": "it runs on, and is watched no more", "changes": []},
]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "control.sock", status=status(target("general"), target("code"))) as daemon:
        daemon.differences = {"targets": TARGETS, "common": [PORT]}
        yield daemon


def asked(daemon: FakeDaemon) -> list[tuple[str, str, dict[str, list[str]]]]:
    return [(each.method, each.path, each.query) for each in daemon.asked]


def test_reread_shows_what_differs_in_supervisorctls_words_with_the_keys_below(daemon: FakeDaemon, ctl: Ctl) -> None:
    assert ctl("reread") == (
        0,
        [
            "code: changed",
            '  url: "http://a:1" -> "http://a:2"',
            "  api_key: not set -> (hidden)",
            "  what runs goes on",
            "math: available",
            "vision: disappeared",
            "  it runs on, and is watched no more",
            "  http.port: 8090 -> 9000 (takes a restart of the daemon)",
        ],
        [],
    )
    assert asked(daemon) == [("GET", "/v1/settings/difference", {})]


def test_reread_says_as_supervisorctl_does_that_no_target_differs(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.differences = {"targets": [], "common": [PORT]}

    code, told, _ = ctl("reread")

    assert (code, told[0], len(told)) == (0, "No config updates to processes", 2)


@pytest.mark.parametrize("words", [("update",), ("update", "all"), ("update", "code", "all")])
def test_update_tells_what_it_has_done_in_supervisorctls_words_and_order(
    daemon: FakeDaemon, ctl: Ctl, words: tuple[str, ...]
) -> None:
    code, told, _ = ctl(*words)

    assert code == 0
    assert [line for line in told if not line.startswith("  ")] == [
        "vision: removed process group",
        "code: updated process group",
        "math: added process group",
    ]
    assert asked(daemon) == [("POST", "/v1/reload", {})]


def test_update_with_nothing_to_do_is_silent(daemon: FakeDaemon, ctl: Ctl) -> None:
    daemon.differences = {"targets": [], "common": []}

    assert ctl("update") == (0, [], [])


def test_update_of_some_asks_for_each_and_goes_on_after_one_that_is_nowhere(daemon: FakeDaemon, ctl: Ctl) -> None:
    code, told, _ = ctl("update", "nobody", "code")

    assert (code, told[0], told[1]) == (1, "ERROR: no such group: nobody", "code: updated process group")
    assert [query for _, _, query in asked(daemon)] == [{"target": ["nobody"]}, {"target": ["code"]}]


def test_reload_is_update_and_says_so_at_its_end(daemon: FakeDaemon, ctl: Ctl) -> None:
    code, told, _ = ctl("reload")

    assert (code, told[0], told[-1]) == (0, "vision: removed process group", "Reloaded benchai-supervisord")
    assert asked(daemon) == [("POST", "/v1/reload", {})]


def test_add_watches_what_is_new_and_says_of_the_rest_why_not(daemon: FakeDaemon, ctl: Ctl) -> None:
    assert ctl("add", "math") == (0, ["math: added process group"], [])
    assert ctl("add", "code") == (0, ["ERROR: process group already active"], [])
    assert ctl("add", "nobody") == (1, ["ERROR: no such process/group: nobody"], [])
    assert [path for method, path, _ in asked(daemon) if method == "POST"] == ["/v1/reload"]


def test_remove_lets_go_what_has_left_the_file_and_nothing_else(daemon: FakeDaemon, ctl: Ctl) -> None:
    code, told, _ = ctl("remove", "vision")

    assert (code, told[0]) == (0, "vision: removed process group")
    assert ctl("remove", "code") == (1, ["ERROR: still in the settings file: code; take it out there first"], [])
    assert [query for method, _, query in asked(daemon) if method == "POST"] == [{"target": ["vision"]}]


EVERY = (("reread",), ("update",), ("update", "code"), ("reload",), ("add", "x"), ("remove", "x"))


@pytest.mark.parametrize("words", EVERY)
def test_a_bad_file_is_told_line_by_line_and_nothing_else_is(
    daemon: FakeDaemon, ctl: Ctl, words: tuple[str, ...]
) -> None:
    lines = ["settings.toml: http.port = -1: must be at least 0", "settings.toml: x: is not a key we know"]
    daemon.complaint = "\n".join(lines)

    assert ctl(*words) == (1, [f"ERROR: {line}" for line in lines], [])
