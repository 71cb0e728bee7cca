"""`simulate` from a file, and whatever stands there instead of a recording."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli import main
from tests.fakes.incidents import BUNDLE, incident
from tests.fakes.recordings import HANGS, bundle

Told = tuple[int, str, str]

pytestmark = pytest.mark.usefixtures("in_utc")
NOTHING_KEPT = "general, Nov 23 11:45:08: no observations were kept with this evidence\n"


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Run the command where there is no daemon; return its exit status, stdout and stderr."""

    def run(*words: str) -> Told:
        code = main(["--server", "unix:///nowhere", "simulate", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where an incident is exported to."""
    return tmp_path / "general.json"


@pytest.fixture
def of(ctl: Callable[..., Told], file: Path) -> Callable[..., Told]:
    """Export an incident with some evidence, and simulate it."""

    def run(evidence: Any, *words: str) -> Told:
        file.write_text(json.dumps(incident(evidence=evidence)))
        return ctl(str(file), *words)

    return run


def is_restarted_at(told: Told) -> list[float | None]:
    """Return when each was restarted."""
    return [each["recorded"]["restarted_at_s"] for each in json.loads(told[1])["simulations"]]


# --- where it comes from ----------------------------------------------------------------------------------------------


def test_what_was_exported_is_read_from_its_file(of: Callable[..., Told]) -> None:
    told = of([bundle(HANGS)], "-f", "json")

    assert is_restarted_at(told) == [0.0]
    assert json.loads(told[1])["id"] == "20261123-114500-general"


def test_a_bundle_alone_may_be_read_too(ctl: Callable[..., Told], file: Path) -> None:
    file.write_text(json.dumps(bundle(HANGS)))

    assert is_restarted_at(ctl(str(file), "-f", "json")) == [0.0]


def test_a_file_in_the_present_folder_needs_no_slash(
    ctl: Callable[..., Told], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(json.dumps(bundle(HANGS)))
    monkeypatch.chdir(file.parent)

    assert is_restarted_at(ctl(file.name, "-f", "json")) == [0.0]


def test_it_may_come_from_standard_input(ctl: Callable[..., Told], monkeypatch: pytest.MonkeyPatch) -> None:
    exported = io.BytesIO(json.dumps(incident(evidence=[bundle(HANGS)])).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(exported))

    assert is_restarted_at(ctl("-", "-f", "json")) == [0.0]


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "[" * 100_000, '{"a": 1' + "0" * 5000 + "}"], ids=len)
def test_a_file_that_is_no_incident_is_an_error(ctl: Callable[..., Told], file: Path, content: str) -> None:
    file.write_text(content)

    assert ctl(str(file)) == (1, f"{file}: ERROR (it is not what incident export writes)\n", "")


def test_a_file_that_is_not_there_is_an_error(ctl: Callable[..., Told], file: Path) -> None:
    assert ctl(str(file)) == (1, f"{file}: ERROR (cannot read it: No such file or directory)\n", "")


# --- what cannot be replayed ------------------------------------------------------------------------------------------


def test_evidence_without_observations_says_so(of: Callable[..., Told]) -> None:
    assert of([BUNDLE]) == (1, NOTHING_KEPT, "")
    assert json.loads(of([BUNDLE], "-f", "json")[1])["simulations"][0]["observations"] is None


def test_beside_one_that_can_be_replayed_that_is_no_error(of: Callable[..., Told]) -> None:
    code, out, _ = of([BUNDLE, bundle(HANGS)])

    assert code == 0
    assert out.startswith(f"{NOTHING_KEPT}\ngeneral, Nov 23 11:45:08: 72 observations")


@pytest.mark.parametrize("odd", [None, [], 7, "much", [{}], {"at_s": 0}], ids=str)
def test_observations_that_are_none_are_said_to_be(of: Callable[..., Told], odd: Any) -> None:
    line = "general, Nov 23 11:45:08: none of its observations can be read\n"

    assert of([bundle(HANGS, observations=odd)]) == (1, line, "")


def test_that_the_beginning_was_lost_is_said(of: Callable[..., Told]) -> None:
    rest = bundle(HANGS)["observations"][1:]

    code, out, _ = of([bundle(HANGS, observations=rest)])

    assert code == 0
    assert "72 observations over 28.0 s; what was known before is\nlost\n" in out


@pytest.mark.parametrize("evidence", [[], None, 7, [None]], ids=str)
def test_an_incident_without_evidence_says_so(of: Callable[..., Told], file: Path, evidence: Any) -> None:
    assert of(evidence) == (1, f"{file}: ERROR (no evidence was kept of it)\n", "")


def test_words_from_a_model_server_cannot_take_over_the_terminal(of: Callable[..., Told]) -> None:
    evil = "\x1b[2Jboo\rsecond\x9b"
    seen = [{"at_s": -1, "seen": "EngineSeen", "life": "exited", "instance": evil, "detail": evil}]
    evidence = [bundle(HANGS, target=evil, taken_at=evil, observations=seen)]

    told = [of(evidence), of(evidence, "-f", "json")]

    assert "boo" in told[0][1]
    assert all(line.isprintable() for _, out, _ in told for line in out.split("\n"))


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "target": anything,
        "taken_at": anything,
        "observations": anything | st.lists(st.fixed_dictionaries({"at_s": anything, "seen": anything}), max_size=2),
        "policy": anything | st.fixed_dictionaries({}, optional=dict.fromkeys(["tick_s", "hung_after_s"], anything)),
    },
)


@given(st.lists(parts, max_size=2) | anything, st.sampled_from(["table", "json"]))
def test_any_incident_whatever_can_be_told(evidence: Any, form: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"evidence": evidence}).encode())))
        patched.setattr(sys, "stdout", io.StringIO())

        assert main(["simulate", "-", "--set", "hung_after_s=20", "-f", form]) in (0, 1)
