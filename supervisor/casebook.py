"""Keeps the book of one target's troubles: names them, tells of them, has them written down. It decides nothing."""

from dataclasses import replace
from typing import Protocol

from loguru import logger

from supervisor.core.incident import OPENS, Incident, follow
from supervisor.core.state import State
from supervisor.guard import Guard


class Keep(Protocol):
    """Writes an incident down where it survives us."""

    def __call__(self, incident: Incident, *, instead_of: str | None = None) -> None:
        """Write it down; `instead_of` is the name it went by before."""
        ...


class Casebook:
    """The troubles of one target."""

    def __init__(self, name: str, *, guard: Guard, keep: Keep, incident: Incident | None) -> None:
        """`incident` is the one that an earlier daemon left open."""
        self._name = name
        self._guard = guard
        self._keep = keep
        self._incident = incident
        self.concerned: str | None = None  # the name of the trouble that the last step was a part of: it may be over

    @property
    def present(self) -> str | None:
        """The name of the trouble it is in."""
        return self._incident.id if self._incident else None

    @property
    def open(self) -> Incident | None:
        """The trouble itself."""
        return self._incident

    def follow(self, before: State, after: State, *, instance: str | None, now: float) -> None:
        """Take note of a step of the target's state; `instance` is the life it is in, or was in last."""
        old = self._incident
        name = old.id if old else self._guard.name_incident(self._name) if after.phase in OPENS else ""
        new = follow(old, before, after, target=self._name, instance=instance, new_id=name, now=now)
        self.concerned = None
        if new is None:
            return
        shared = self._guard.shared_incident(self._name, new.id)
        if shared != name:
            log = logger.bind(whole=True, target=self._name, incident=shared)
            log.warning("{}: its trouble {} is one with {}", self._name, new.id, shared)
            new = replace(new, id=shared)
        self.concerned = new.id
        self._incident = None if new.closed_at is not None else new
        if new != old:
            _tell(old, new)
            self._keep(new, instead_of=name if name != new.id else None)


def _tell(before: Incident | None, after: Incident) -> None:
    """Tell of a trouble by its name: that it began, its cause once that is known, and what ended it."""
    log = logger.bind(whole=True, target=after.target, incident=after.id)
    if before is None:
        log.warning("{}: incident {} begins", after.target, after.id)
    if after.diagnosis is not None and (before is None or before.diagnosis != after.diagnosis):
        found = after.diagnosis
        level = "WARNING" if found.helps_restart else "ERROR"  # only a person can mend it
        cure = f"; the cure: {found.cure}" if found.cure else ""
        log.bind(cause=str(found.cause)).log(
            level, "{}: incident {}: {}: {}{}", after.target, after.id, found.cause, found.says, cure
        )
    if after.ending is not None and after.closed_at is not None:
        lasted_s = after.closed_at - after.opened_at
        log.info("{}: incident {} is over after {:.0f}s: {}", after.target, after.id, lasted_s, after.ending)
