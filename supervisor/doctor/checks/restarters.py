"""Who else restarts the same containers: two who do undo each other's work, and each takes the other for a crash."""

from collections.abc import Iterator

from supervisor.doctor import restarting
from supervisor.doctor.around import Around
from supervisor.doctor.finding import Finding, error, note, ok, warning
from supervisor.doctor.restarting import Container
from supervisor.settings import TargetSettings

NOT_FOUND = ("not found", "no such file or directory", "executable file not found")


def look(around: Around) -> Iterator[Finding]:
    """Look at what the engine tells of the targets' containers and of others."""
    if not around.uses("docker") or around.engine().silence is not None:
        return
    inspected = around.engine().inspected
    others = [each for each in inspected.values() if restarting.is_restarter(each) and restarting.runs(each)]
    there = [(target, its) for target in around.targets if (its := around.container(target)) is not None]
    found = [each for other in others for each in _other(other, there)]
    for target, container in there:
        found += _orchestrated(target, container)
        found += _policy(target, container)
        found += _health(target, container)
    idle = [each for each in others if not any(_name(each) in one.seen for one in found)]
    found += [note(f"{_name(each)} ({restarting.kind(each)}) runs, and leaves the targets alone") for each in idle]
    yield from found or [ok("nobody else restarts the targets' containers")]


def _other(other: Container, there: list[tuple[TargetSettings, Container]]) -> Iterator[Finding]:
    """Yield one finding for all that another acts on for the same reason: it is one thing to be mended."""
    mine: dict[str, list[TargetSettings]] = {}
    for target, container in there:
        if why := restarting.acts_on(other, container):
            mine.setdefault(why, []).append(target)
    for why, targets in mine.items():
        names = _listed([each.engine_name for each in targets])
        only = targets[0].name if len(targets) == 1 else None
        its, changes = ("its", "image changes") if only else ("their", "images change")
        if restarting.kind(other) == "autoheal":
            fails = "HEALTHCHECK fails" if only else "HEALTHCHECKs fail"
            works = "it works" if only else "they work"
            seen = f"{_name(other)} restarts {names} when {its} {fails} ({why}), also while {works}"
            cure = f"take the label off {names}, or stop {_name(other)}; the supervisor does it better"
            yield error(seen, cure=cure, command=f"docker stop {_name(other)}", target=only)
        else:
            seen = f"{_name(other)} replaces {names} when {its} {changes} ({why})"
            cure = f"create {names} with the label {restarting.WATCHED_BY_WATCHTOWER}=false"
            yield warning(seen, cure=cure, target=only)


def _orchestrated(target: TargetSettings, container: Container) -> Iterator[Finding]:
    labels = restarting.labels(container)
    if restarting.SWARM_TASK in labels:
        service = labels.get("com.docker.swarm.service.name", "its service")
        seen = f"{target.engine_name} is a task of the swarm service {service}, which replaces what is restarted"
        cure = 'watch it with engine = "none", and let the swarm restart it'
        yield error(seen, cure=cure, target=target.name)
    if restarting.KUBERNETES_POD in labels:
        seen = f"{target.engine_name} is a part of the pod {labels[restarting.KUBERNETES_POD]}, which kubelet restarts"
        yield error(seen, cure='watch it with engine = "none", and give the pod a probe', target=target.name)
    if ":true" in labels.get("com.docker.compose.depends_on", ""):
        seen = f"compose restarts {target.engine_name} whenever it restarts what that depends on (depends_on.restart)"
        yield note(seen, cure="hold the target while you update the stack", target=target.name)


def _policy(target: TargetSettings, container: Container) -> Iterator[Finding]:
    policy = ((container.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"
    name = target.engine_name
    if policy == "always":
        seen = f"{name} has restart: always, so Docker starts it again with itself after you have stopped it"
        command = f"docker update --restart unless-stopped {name}"
        yield note(seen, cure="let a stop hold", command=command, target=target.name)


def _health(target: TargetSettings, container: Container) -> Iterator[Finding]:
    health = (container.get("State") or {}).get("Health") or {}
    last = str(((health.get("Log") or [{}])[-1] or {}).get("Output") or "").strip()
    if health.get("Status") == "unhealthy" and any(words in last.lower() for words in NOT_FOUND):
        test = ((container.get("Config") or {}).get("Healthcheck") or {}).get("Test") or []
        words = [word for each in test[1:] for word in str(each).split()]
        program = words[0] if words else "its program"
        seen = f"{target.engine_name} is unhealthy to Docker because its image has no {program}: {last[:120]}"
        cure = "test with what the image has, or take the HEALTHCHECK out; the supervisor does not need it"
        yield warning(seen, cure=cure, target=target.name)


def _name(container: Container) -> str:
    return str(container.get("Name") or "").removeprefix("/")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
