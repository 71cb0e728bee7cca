"""Docker: whether the daemon's user may talk to it, whether it answers, and what a proxy before it denies."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from supervisor.doctor.account import READ, WRITE, exists, group_of
from supervisor.doctor.around import CALL_S, Around
from supervisor.doctor.finding import Finding, error, note, ok, warning
from supervisor.engines.docker_pool import UNIX
from supervisor.engines.docker_survey import Silence, Survey

OLDEST_API = (1, 41)  # 20.10: CPU time in one answer
LIST = "docs/security.md lists what is needed"


def look(around: Around) -> Iterator[Finding]:
    """Look at the engine, where a target needs it."""
    if not around.uses("docker") and not around.settings.docker.discover:
        return
    host = around.settings.docker.host
    if host.startswith(UNIX):
        yield from _rights(around, Path(host.removeprefix(UNIX)))
    survey = around.engine()
    if survey.silence is not None:
        yield from _silence(around, survey)
        return
    yield from _version(survey)
    yield from _denials(around, survey)
    yield from _containers(around, survey)
    for problem in around.label_problems:
        yield error(problem, cure="create the container with other labels: docs/reload.md has them all")


def _rights(around: Around, path: Path) -> Iterator[Finding]:
    account = around.account
    if not exists(path) or account.may(path, READ | WRITE) is not False:
        return
    group = group_of(path)
    seen = f"{account.name} ({account.whose}) may not open {path}, which belongs to the group {group}"
    cure = "put the user into the group, and restart the daemon"
    if group == "root":
        cure = "give the socket to a group of its own (`group` in /etc/docker/daemon.json), or ask through a proxy"
        yield error(seen, cure=cure)
        return
    command = f"usermod -aG {group} {account.name} && systemctl restart benchai-supervisor"
    yield error(seen, cure=cure, command=command)


def _silence(around: Around, survey: Survey) -> Iterator[Finding]:
    host = around.settings.docker.host
    match survey.silence:
        case Silence.DENIED:
            if around.account.may(Path(host.removeprefix(UNIX)), READ | WRITE) is not False:
                cure = "run the doctor as root or as the daemon's user"
                yield note(f"what Docker knows was not seen: {host} may not be opened by who asks now", cure=cure)
        case Silence.MISSING:
            cure = "start Docker, or set [docker] host to where its socket is"
            yield error(f"there is no {host.removeprefix(UNIX)}", cure=cure, command="systemctl start docker")
        case Silence.REFUSED:
            cure = "start Docker; a socket file that it left behind answers nobody"
            yield error(f"nobody listens at {host}", cure=cure, command="systemctl start docker")
        case Silence.LATE:
            cure = "Docker hangs: see `journalctl -u docker`; a stuck container or disk may hold it up"
            yield error(f"{host} takes questions and does not answer within {CALL_S:g} s", cure=cure)
        case _:
            yield error(f"{host} cannot be asked: {survey.words}", cure="check [docker] host, and the proxy there")


def _version(survey: Survey) -> Iterator[Finding]:
    numbers = survey.api.split(".")
    if not all(each.isdecimal() for each in numbers) or tuple(map(int, numbers)) >= OLDEST_API:
        yield ok(f"engine {survey.version} answers (API {survey.api})")
        return
    seen = f"engine {survey.version} (API {survey.api}) is older than 20.10: it takes two seconds to tell CPU time"
    yield warning(seen, cure="update Docker", command="apt-get install docker.io")


def _denials(around: Around, survey: Survey) -> Iterator[Finding]:
    if survey.denied:
        cure = f"have the proxy allow them; {LIST}"
        yield error(f"what stands before the engine denies {', '.join(survey.denied)}", cure=cure)
    if survey.denied_too:
        seen = f"what stands before the engine denies {', '.join(survey.denied_too)}: causes will be known less often"
        yield note(seen, cure=f"have the proxy allow them too; {LIST}")
    if survey.has_favourites:
        yield note("not seen: whether we may act; what stands before the engine decides by the container")
    if not survey.can_list and around.settings.docker.discover:
        seen = "docker.discover is on, and what stands before the engine denies GET /containers/json"
        yield error(seen, cure=f"have the proxy allow it, or switch that off; {LIST}")
    elif not survey.can_list:
        yield note("other containers were not seen: what stands before the engine denies GET /containers/json")


def _containers(around: Around, survey: Survey) -> Iterator[Finding]:
    for target in around.targets:
        name = target.engine_name
        if target.engine != "docker" or name in survey.inspected or "GET /containers/NAME/json" in survey.denied:
            continue
        known = [str(each).removeprefix("/") for listed in survey.containers for each in listed.get("Names") or []]
        close = get_close_matches(name, known, n=3, cutoff=0.6)
        meant = f"; there is {' and '.join(close)}" if close else ""
        cure = f'create it, or say container = "…" in the settings{meant}'
        yield error(f"Docker has no container {name}", cure=cure, target=target.name)
