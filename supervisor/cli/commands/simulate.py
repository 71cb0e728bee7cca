"""`simulate`: judge once more what was recorded of an incident, as it was set then and with other values beside it."""

import json
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from supervisor.cli import suggest
from supervisor.cli.formats import JSON, TABLE, as_json, format_option
from supervisor.cli.http import MAX_HISTORY_BYTES, Daemon
from supervisor.cli.incidents import WHICH, found
from supervisor.cli.options import Understood, with_daemon
from supervisor.cli.simulate_table import Simulation, as_document, lines
from supervisor.cli.terminal import FAILED, OK, put, say, width
from supervisor.cli.text import nearest
from supervisor.core.plain import LONGEST_S, from_plain
from supervisor.core.policy import Policy, complaints
from supervisor.core.recording import from_json
from supervisor.core.replay import replay

STANDARD_INPUT = "-"
READ_AT = 2 * LONGEST_S  # when a recording ends, by a clock of our own on which none of its times is below zero
ONWARD_S = 3600.0  # longer than any patience by default
LARGEST = 31_536_000  # a year, as in the settings
KINDS = {each.name: each.type for each in fields(Policy)}

Document = dict[str, Any]
Changes = dict[str, float]


def change(text: str) -> tuple[str, float]:
    """Return the key and the value of a `KEY=VALUE`.

    Raises:
        ValueError: there is no such key, or this is no value of it; the message says what would be right.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not KEY=VALUE; say it like hung_after_s=20")
    if key not in KINDS:
        raise ValueError(f"there is no {key!r} in a policy; {nearest(key, list(KINDS))}")
    number = math.nan
    with suppress(ValueError):
        number = float(value)
    if not 0 < number <= LARGEST:
        raise ValueError(f"{key} must be a number above 0, and not {value!r}")
    if KINDS[key] is not int:
        return key, number
    if not number.is_integer():
        raise ValueError(f"{key} must be a whole number, and not {value}")
    return key, int(number)


@click.command()
@click.argument(
    "word",
    metavar="ID",
    shell_complete=suggest.incidents,
    help=f"{WHICH[:-1]}, or a file that export wrote (-: standard input).",
)
@click.option(
    "--set",
    "changes",
    metavar="KEY=VALUE",
    type=Understood("change", change),
    multiple=True,
    help="A key of [policy] in settings.toml, such as hung_after_s=20; may be given again.",
)
@format_option(TABLE, JSON)
@with_daemon
def simulate(daemon: Daemon, word: str, *, changes: Sequence[tuple[str, float]], form: str) -> int:
    """Judge once more what was recorded of an incident, with other values of its policy.

    What was asked is what was asked then; holds, other targets and chance are left out.
    """
    return _simulate(daemon, word, changes=dict(changes), form=form)


def _simulate(daemon: Daemon, word: str, *, changes: Changes, form: str) -> int:
    document = _document(daemon, word)
    if document is None:
        return FAILED
    bundles = _bundles(document)
    contradictions = dict.fromkeys(line for bundle in bundles for line in _contradictions(bundle, changes))
    for line in contradictions or ([] if bundles else ["no evidence was kept of it"]):
        say(f"{word}: ERROR ({line})")
    if contradictions or not bundles:
        return FAILED
    simulations = [_simulated(bundle, changes) for bundle in bundles]
    if form == JSON:
        told = [as_document(each) for each in simulations]
        put(as_json({"id": document.get("id"), "simulations": told}))
    else:
        for line in lines(simulations, width=width()):
            say(line)
    return OK if any(each.recorded for each in simulations) else FAILED


def _document(daemon: Daemon, word: str) -> Document | None:
    """Return an incident: from a file that `incident export` wrote, or from the daemon; say so where there is none."""
    path = Path(word)
    if word != STANDARD_INPUT and not _is_a_file(path, word):
        answer = found(daemon, word)
        return None if answer is None else answer.content
    try:
        with sys.stdin.buffer if word == STANDARD_INPUT else path.open("rb") as file:
            content = json.loads(file.read(MAX_HISTORY_BYTES))
    except OSError as error:
        say(f"{word}: ERROR (cannot read it: {error.strerror or error})")
        return None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        say(f"{word}: ERROR (it is not what incident export writes)")
        return None
    return content


def _is_a_file(path: Path, word: str) -> bool:
    """Whether a file is meant, and not an incident or a target, whose names hold no slash."""
    with suppress(OSError):
        return "/" in word or path.is_file()
    return False


def _bundles(document: Document) -> list[Document]:
    evidence = document.get("evidence", [document] if "observations" in document else None)
    return [each for each in evidence if isinstance(each, dict)] if isinstance(evidence, list) else []


def _policy(bundle: Document) -> Policy:
    return from_plain(Policy, bundle.get("policy"), now=0.0) or Policy()


def _contradictions(bundle: Document, changes: Changes) -> list[str]:
    """Return in what the changes contradict one another, or how it was set."""
    policy = _policy(bundle)
    changed = replace(policy, **changes)  # type: ignore[arg-type]  # `change` has looked at their types
    known = [key for key, _ in complaints(policy)]
    return [f"{key} = {getattr(changed, key):g} {cure}" for key, cure in complaints(changed) if key not in known]


def _simulated(bundle: Document, changes: Changes) -> Simulation:
    policy, recording = _policy(bundle), from_json(bundle.get("observations"), now=READ_AT)
    policies = [policy, replace(policy, **changes)] if changes else [policy]  # type: ignore[arg-type]
    replays = [replay(recording, policy=each, until=READ_AT, onward_s=ONWARD_S) for each in policies]
    entries = recording.entries
    return Simulation(
        target=str(bundle.get("target")),
        taken_at=str(bundle.get("taken_at")),
        observations=len(entries) if "observations" in bundle else None,
        lasted_s=READ_AT - entries[0].at if entries else 0.0,
        has_beginning=bool(entries) and entries[0].before is not None,
        has_policy=isinstance(bundle.get("policy"), dict),
        onward_s=ONWARD_S,
        changes=changes,
        recorded=replays[0],
        changed=replays[-1] if changes else (),
    )
