"""`probe`: one real request now, to targets through the daemon, or to any server without one."""

import os
import re
import sys
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from supervisor.cli import suggest
from supervisor.cli.http import DaemonRefused
from supervisor.cli.once_words import SERVICE, Level, level, nagios, said
from supervisor.cli.options import SECONDS, daemon
from supervisor.cli.terminal import FAILED, OK, refusal, say
from supervisor.cli.text import clean

if TYPE_CHECKING:
    from supervisor.once import Probed, Wanted

KEY_VARIABLE, LLAMA_VARIABLE = "BENCHAI_SUPERVISOR_API_KEY", "LLAMA_API_KEY"
KINDS = ("chat", "completion", "embeddings", "vision")
FOR_TARGETS = ("--wait", "--patient")
FOR_A_URL = ("--model", "--canary", "--timeout", "--may-cut-off", "--nagios", "--warning", "--critical")
TYPED = (click.core.ParameterSource.COMMANDLINE,)
USUAL_S, USUAL_ONCE_S = 60.0, 10.0
GRACE_S = 0.2  # beyond the timeout, before we answer whatever hangs
LOCAL = re.compile(r"(localhost|127\.[0-9.]+|\[?::1\]?)")


@click.command()
@click.argument(
    "names",
    metavar="[NAME...]",
    nargs=-1,
    shell_complete=suggest.targets_or_all,
    help="Targets' names; all: every one.",
)
@click.option(
    "--wait", "wait_s", metavar="SECONDS", type=SECONDS, help=f"How long to wait for the answer ({USUAL_S:g})."
)
@click.option("--patient", is_flag=True, help="Where every slot is at work, wait for a free one.")
@click.option("--wake", "wakes", is_flag=True, help="Ask even if that wakes it.")
@click.option("--url", metavar="URL", help="Any server, without a daemon: http://127.0.0.1:8091.")
@click.option("--model", metavar="MODEL", help="With --url: the model to ask for (one that it has).")
@click.option(
    "--canary", metavar="KIND", type=click.Choice(KINDS), default="chat", help=f"With --url: {', '.join(KINDS)} (chat)."
)
@click.option("-t", "--timeout", "timeout_s", metavar="SECONDS", type=SECONDS, help=f"With --url ({USUAL_ONCE_S:g}).")
@click.option("--may-cut-off", is_flag=True, help="With --url: ask llama-cpp-python too, though it cuts its users off.")
@click.option("--nagios", "for_nagios", is_flag=True, help="With --url: a plugin's line, and 0, 1, 2 or 3.")
@click.option("-w", "--warning", "warning_s", metavar="SECONDS", type=SECONDS, help="With --nagios: first token later.")
@click.option("-c", "--critical", "critical_s", metavar="SECONDS", type=SECONDS, help="With --nagios: later still.")
@click.pass_context
def probe(ctx: click.Context, /, names: tuple[str, ...], *, url: str | None, **options: Any) -> int:
    """One real request now, and whether it is answered well.

    Targets are asked by the daemon, one canary at a time, and not while every slot is at work or they sleep: then it
    says so, and what is known of them decides. Exits with 0 where all are well, 1 where one is not.

    With --url a server is asked without a daemon, for Docker's HEALTHCHECK, Kubernetes' exec probes, monit and Nagios.
    It never takes longer than its timeout. Its key comes from $BENCHAI_SUPERVISOR_API_KEY, or for a server on this
    machine from $LLAMA_API_KEY. A busy server that moves is well.
    """
    if url is None and not names:
        raise click.UsageError("name a target as in status, or give --url of a server")
    if url is not None and names:
        raise click.UsageError(f"give --url or targets, not both: {' '.join(names)}")
    if stray := [option for option in _given(ctx) if option in (FOR_TARGETS if url is not None else FOR_A_URL)]:
        where = "for targets, and not with --url" if url is not None else "for --url, and not for targets"
        raise click.UsageError(f"{', '.join(stray)}: only {where}")
    return _targets(ctx, names, options) if url is None else _once(url, options)


def _given(ctx: click.Context) -> list[str]:
    """Return the options that stand on the command line, by their long names."""
    typed = [each for each in ctx.command.params if each.name and ctx.get_parameter_source(each.name) in TYPED]
    return [max(each.opts, key=len) for each in typed]


def _targets(ctx: click.Context, names: tuple[str, ...], options: dict[str, Any]) -> int:
    asked, code = daemon(ctx), OK
    wait_s = USUAL_S if options["wait_s"] is None else min(600.0, options["wait_s"])
    for name in asked.named(names):
        try:
            told = asked.probe(name, wait_s=wait_s, patient=options["patient"], wakes=options["wakes"])
        except DaemonRefused as refused:
            say(refusal(name, refused))
            code = FAILED
            continue
        first_ms = told.get("first_token_ms")
        first = "" if first_ms is None else f", first token {first_ms / 1000:.2f}s"
        detail = clean(told.get("detail"))
        words = f"{told.get('verdict')}{first}{'' if detail == 'answered' else f': {detail}'}"
        say(f"{name}: ok ({words})" if told.get("ok") else f"{name}: ERROR ({words})")
        code = code if told.get("ok") else FAILED
    return code


def _once(url: str, options: dict[str, Any]) -> int:
    for_nagios, timeout_s = options["for_nagios"], options["timeout_s"] or USUAL_ONCE_S
    limits = {"warning_s": options["warning_s"], "critical_s": options["critical_s"]}
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        why = f"{url!r} is no address of a server: give one like http://127.0.0.1:8091"
        if not for_nagios:
            raise click.UsageError(why)
        say(f"{SERVICE} {Level.UNKNOWN.name} - {why.replace('|', '/')}")
        return Level.UNKNOWN
    probed, hangs = _asked(url, options, timeout_s)
    how_bad = level(probed, **limits)
    if for_nagios:
        say(nagios(probed, how_bad, timeout_s=timeout_s, **limits))
        code = int(how_bad)
    else:
        is_well = how_bad is Level.OK
        say(f"{url}: ok ({said(probed)})" if is_well else f"{url}: ERROR ({said(probed)})")
        code = OK if is_well else FAILED
    if hangs:  # in a thread that Python would wait for at its end
        sys.stdout.flush()
        os._exit(code)
    return code


def _asked(url: str, options: dict[str, Any], timeout_s: float) -> "tuple[Probed, bool]":
    """Probe it in a thread, and return what came of it, and whether that thread hangs: a name server may."""
    import asyncio

    from supervisor.once import Health, Once, Probed, Wanted

    wanted = Wanted(
        url=url.rstrip("/"),
        model=options["model"],
        canary=options["canary"],
        timeout_s=timeout_s,
        api_key=_key(url),
        wakes=options["wakes"],
        may_cut_off=options["may_cut_off"],
    )
    results: list[Probed] = []

    def run(wanted: "Wanted") -> None:
        try:
            results.append(asyncio.run(Once(wanted).probe()))
        except Exception as error:  # noqa: BLE001 - a health check says what is wrong with itself, in its own way
            results.append(Probed(health=Health.UNKNOWN, detail=f"our own fault: {error}"))

    thread = Thread(target=run, args=(wanted,), daemon=True)
    thread.start()
    thread.join(timeout_s + GRACE_S)
    late = Probed(health=Health.UNKNOWN, detail=f"{timeout_s:g}s were over: is its name resolved?", took_s=timeout_s)
    return (results[0] if results else late), thread.is_alive()


def _key(url: str) -> str:
    own = os.environ.get(KEY_VARIABLE, "").strip()
    is_local = LOCAL.fullmatch(urlsplit(url).hostname or "") is not None
    return own or (os.environ.get(LLAMA_VARIABLE, "").strip() if is_local else "")
