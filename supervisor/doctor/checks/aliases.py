"""Aliases: what backends serve that no router offers, and what a router offers that no backend serves."""

from collections.abc import Iterator
from difflib import get_close_matches

from supervisor.doctor.around import Around
from supervisor.doctor.asking import Said, get
from supervisor.doctor.finding import Finding, error, note, ok, warning
from supervisor.settings import BackendSettings, RouterSettings

OWN_CHOICE = frozenset({"auto", "default", "router"})  # by these a router chooses itself
A_SERVERS_OWN = ("llamacpp", "vllm", "sglang", "library")  # who owns a model that a model server lists itself


def look(around: Around) -> Iterator[Finding]:
    """Ask each router for its models; that is answered from its settings."""
    served = {alias for each in around.settings.backends for alias in around.settings.models_of(each)}
    offered: set[str] = set()
    for router in around.routers:
        said = get(router, "/v1/models")
        if said.refuses_key:
            where = f'api_key = "…" in the settings of {router.name}'
            yield error(f"the router wants a key ({said.status})", cure=f"write {where}", target=router.name)
        names = _names(said)
        if names is None:
            yield note("the router does not tell what it offers at /v1/models", target=router.name)
            return
        offered |= names
        yield from _unserved(around, router, names, served)
    if not around.routers:
        return
    unknown = [each for each in around.backends if not each.stands_in_for and _unoffered(around, each, offered)]
    for backend in unknown:
        missing = ", ".join(sorted(_unoffered(around, backend, offered)))
        cure = "name it in the router's settings, or take it out of models"
        yield warning(f"no router offers {missing}", cure=cure, target=backend.name)
    if not unknown and offered:
        yield ok("the routers offer what the backends serve")


def _unserved(around: Around, router: RouterSettings, names: set[str], served: set[str]) -> Iterator[Finding]:
    if unknown := sorted(names - served - OWN_CHOICE):
        close = {alias: get_close_matches(alias, served, n=1) for alias in unknown}
        told = ", ".join(f"{alias} (there is {close[alias][0]})" if close[alias] else alias for alias in unknown)
        cure = "add it to the models of whoever serves it, or take it out of the router's settings"
        yield warning(f"the router offers what no backend serves: {told}", cure=cure, target=router.name)
    wanted = set(router.models) or set(around.settings.ways_through(router))
    for alias in sorted(wanted - names) if router.models else ():
        cure = "take it out of the router's models, or name it in the router's own settings"
        yield error(f"the router is asked for {alias}, and does not offer it", cure=cure, target=router.name)


def _unoffered(around: Around, backend: BackendSettings, offered: set[str]) -> set[str]:
    return set(around.settings.models_of(backend)) - offered


def _names(said: Said) -> set[str] | None:
    """Return what a router offers; None where it does not say, or a model server answered in its place."""
    told = said.content.get("data") if said.is_good else None
    entries = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    if not entries or any(each.get("owned_by") in A_SERVERS_OWN for each in entries):
        return None
    return {str(each["id"]) for each in entries if each.get("id")}
