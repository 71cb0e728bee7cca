"""What differs between the settings we run by and those that have been read: in words, and in what can change at once.

Pure. Secrets are never shown.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

from supervisor.settings import Settings, TargetSettings
from supervisor.settings_words import may_be_secret

HIDDEN = "(hidden)"
ANOTHER = "(another, hidden)"
MOST_SHOWN = 120
TARGETS = ("backends", "routers")
# Bound, opened or made once, for as long as we live.
TAKES_RESTART: Mapping[str, tuple[str, ...]] = {
    "daemon": ("state_dir", "liveness_file"),
    "http": ("host", "port", "socket"),
    "agent": ("host", "port"),
    "docker": ("host", "timeout_s", "workers"),
    "systemd": ("bus", "timeout_s"),
    "process": ("log_max_bytes", "log_backups", "stop_on_exit"),
}
T = TypeVar("T", bound=TargetSettings)
Hidden = tuple[str, ...]  # what must not be shown


class What(StrEnum):
    """What a file says anew of a target, in supervisorctl's words."""

    AVAILABLE = "available"
    CHANGED = "changed"
    DISAPPEARED = "disappeared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key: what it was and what it is, as one would write them; None: it was, or is, not there."""

    key: str
    before: str | None
    after: str | None
    takes_restart: bool = False  # of the daemon: until then what was goes on to hold


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDifference:
    """What becomes of one target; `note` is what else one should know of it."""

    name: str
    what: What
    changes: tuple[Change, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All that differs: by target, in the order of their names, and what is common to all."""

    targets: tuple[TargetDifference, ...] = ()
    common: tuple[Change, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether there is none."""
        return not self.targets and not self.common


def difference(before: Settings, after: Settings, *, secrets: Iterable[str] = ()) -> Difference:
    """Return what differs; none of `secrets` is in it, wherever they stand."""
    hidden = tuple(each for each in secrets if each)
    targets = sorted(_targets(before, after, hidden), key=lambda each: each.name)
    return Difference(targets=tuple(targets), common=tuple(_common(before, after, hidden)))


def in_force(before: Settings, after: Settings) -> Settings:
    """Return what can be gone by at once: `after`, but for what takes a restart of the daemon."""
    sections = {
        section: getattr(after, section).model_copy(
            update={key: getattr(getattr(before, section), key) for key in keys}
        )
        for section, keys in TAKES_RESTART.items()
    }
    return after.model_copy(update=sections)


def with_only(before: Settings, after: Settings, names: Collection[str]) -> Settings:
    """Return `before` with what `after` says of these targets, and of nothing else."""
    return before.model_copy(
        update={
            "backends": _with_only(before.backends, after.backends, names),
            "routers": _with_only(before.routers, after.routers, names),
        }
    )


def _with_only(before: Iterable[T], after: Iterable[T], names: Collection[str]) -> tuple[T, ...]:
    known, told = {each.name: each for each in before}, {each.name: each for each in after}
    there = [each if name in names else known.get(name) for name, each in told.items()]
    stays = [each for name, each in known.items() if name not in told and name not in names]
    return (*(each for each in there if each is not None), *stays)


def _targets(before: Settings, after: Settings, hidden: Hidden) -> Iterator[TargetDifference]:
    known, told = _by_name(before), _by_name(after)
    for name, (kind, target) in told.items():
        if name not in known:
            yield TargetDifference(name=name, what=What.AVAILABLE)
            continue
        old_kind, old = known[name]
        own = sorted(old.policy.model_fields_set | target.policy.model_fields_set)
        changes = tuple(_changes(_whole(before, old, own), _whole(after, target, own), hidden))
        if kind != old_kind:
            changes = (Change(key="kind", before=old_kind, after=kind), *changes)
        if changes:
            yield TargetDifference(name=name, what=What.CHANGED, changes=changes)
    for name in known:
        if name not in told:
            yield TargetDifference(name=name, what=What.DISAPPEARED)


def _by_name(settings: Settings) -> dict[str, tuple[str, TargetSettings]]:
    kinds = {kind: getattr(settings, kind) for kind in TARGETS}
    return {each.name: (kind, each) for kind, targets in kinds.items() for each in targets}


def _common(before: Settings, after: Settings, hidden: Hidden) -> Iterator[Change]:
    for section in type(before).model_fields:
        if section in TARGETS:
            continue
        was, is_ = getattr(before, section), getattr(after, section)
        if not isinstance(is_, BaseModel):
            yield from _changes({section: was}, {section: is_}, hidden)
            continue
        for change in _changes(_flat(was), _flat(is_), hidden):
            takes_restart = change.key in TAKES_RESTART.get(section, ())
            yield replace(change, key=f"{section}.{change.key}", takes_restart=takes_restart)


def _whole(settings: Settings, target: TargetSettings, own: Iterable[str]) -> dict[str, Any]:
    """Return every key of a target with its value, and of its policy those in `own` as they hold for it."""
    policy = settings.policy_of(target)
    return _flat(target) | {f"policy.{key}": getattr(policy, key) for key in own}


def _flat(section: BaseModel) -> dict[str, Any]:
    """Return every key with its value, those of tables within under `table.key`; a policy of its own is left out."""
    flat: dict[str, Any] = {}
    for key in type(section).model_fields:
        value = getattr(section, key)
        match value:
            case BaseModel():
                continue
            case dict():
                flat |= {f"{key}.{each}": inner for each, inner in value.items()}
            case _:
                flat[key] = value
    return flat


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], hidden: Hidden) -> Iterator[Change]:
    for key in dict.fromkeys((*before, *after)):
        was, is_ = before.get(key), after.get(key)
        if was == is_:
            continue
        if isinstance(was, SecretStr) or isinstance(is_, SecretStr) or _is_veiled(key):
            yield Change(key=key, before=_veiled(was), after=_veiled(is_, over=was))
        else:
            yield Change(key=key, before=_shown(was, hidden), after=_shown(is_, hidden))


def _is_veiled(key: str) -> bool:
    """Whether a value may hold a secret, whatever it looks like."""
    return key.startswith("environment.") or may_be_secret(key.rpartition(".")[2])


def _veiled(value: Any, *, over: Any = None) -> str | None:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not text:
        return None if text is None else '""'
    was = over.get_secret_value() if isinstance(over, SecretStr) else over
    return ANOTHER if was else HIDDEN


def _shown(value: Any, hidden: Hidden) -> str | None:
    """Return a value as one would write it, cut to what a line can bear; None of what is not there."""
    if value is None:
        return None
    text = _written(value, hidden)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


def _written(value: Any, hidden: Hidden) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.12g}"
        case int():
            return str(value)
        case tuple() | list():
            return f"[{', '.join(_written(each, hidden) for each in value)}]"
        case BaseModel():
            told = value.model_dump(exclude_unset=True)
            return f"{{{', '.join(f'{key} = {_written(each, hidden)}' for key, each in told.items())}}}"
    text = str(value)
    for secret in hidden:
        text = text.replace(secret, HIDDEN)
    return json.dumps(text, ensure_ascii=False)
