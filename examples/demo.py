"""`make demo`: freeze a real model server, kill another, keep a third busy, and watch what becomes of their clients.

Ends with status 0 only if the story really happened: the hung one was told of and restarted, and so was the killed
one; the busy one was left alone; and no request to the router ever hung.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table

from examples.clients import Clients
from supervisor.client import Liveness
from testbed import engine, tiny_model
from testbed.cache import cache_dir
from testbed.clients import Busy, busy, chat
from testbed.routers.kinds import KINDS
from testbed.stack import DEFAULT_PORTS, MODELS, Plan, Stack, is_free

PREFIX = "benchai-demo-"
LINE_S, QUIET_LINE_S = 1.0, 10.0
HUNG, KILLED, BUSY = "general", "code", "planner"
BUSY_S = 25.0  # how long the one answer should take, as fast as the server was before the story began
MOST_TOKENS = 7500  # what fits into its context
STORY_WITHIN_S = 60.0


@dataclass(slots=True)
class Chapter:
    """What became of one backend, in seconds from the fault; None: it did not happen."""

    backend: str
    what: str
    instance: str
    began: float
    told_s: float | None = None
    restarted_s: float | None = None
    again_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether everything that was to happen has happened."""
        return None not in (self.told_s, self.restarted_s, self.again_s)


@dataclass(slots=True)
class Watch:
    """Looks at the liveness document ten times a second, as a router might, and tells of every change once a second."""

    stack: Stack
    clients: Clients
    console: Console
    progress: Status | None  # None: not a terminal
    chapters: list[Chapter] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    said_at: float = -1.0
    said: str = ""

    def until(self, is_over: Callable[[], bool], *, within_s: float) -> bool:
        """Watch until `is_over`, and say whether it came to be in time."""
        deadline = time.monotonic() + within_s
        while not is_over():
            if time.monotonic() > deadline:
                return False
            self._look()
            time.sleep(0.1)
        return True

    def _look(self) -> None:
        snapshot = Liveness(str(self.stack.liveness_file)).snapshot()
        for chapter in self.chapters:
            backend = snapshot.find(chapter.backend)
            target = self.stack.target(chapter.backend)
            after_s = time.monotonic() - chapter.began
            if backend is None:
                continue
            if chapter.told_s is None and not backend.routable:
                chapter.told_s = after_s
            if chapter.restarted_s is None and target["instance"] not in (None, chapter.instance):
                chapter.restarted_s = after_s
            if chapter.again_s is None and chapter.restarted_s is not None and backend.routable:
                chapter.again_s = after_s
        self._say("  ".join(f"{b.name} {_coloured(b.verdict or '?')}" for b in snapshot.backends))

    def _say(self, verdicts: str) -> None:
        """Say what changes at once, and every second what goes on: in place on a terminal, in lines elsewhere."""
        now_s = time.monotonic() - self.began
        line = f"[dim]{now_s:4.0f}s[/]  {verdicts}  [dim]router:[/] {self.clients.latest()}"
        if self.progress is not None:
            self.progress.update(line)
        due_s = QUIET_LINE_S if all(chapter.is_over for chapter in self.chapters) else LINE_S
        is_due = self.progress is None and now_s - self.said_at >= due_s
        if verdicts != self.said or is_due:
            self.said_at, self.said = now_s, verdicts
            self.console.print(line)


def _coloured(verdict: str) -> str:
    colour = {"ready": "green", "busy": "yellow", "warming": "cyan"}.get(verdict, "red")
    return f"[{colour}]{verdict:<7}[/]"


def ports(console: Console) -> dict[str, int]:
    """Return BenchAI's own ports where they are free, any free ones otherwise."""
    if all(is_free(port) for port in DEFAULT_PORTS.values()):
        return dict(DEFAULT_PORTS)
    taken = ", ".join(str(port) for port in DEFAULT_PORTS.values() if not is_free(port))
    console.print(f"ports: {taken} taken by something else here; using other free ones")
    return {}


def models(console: Console) -> tuple[Path, Path]:
    """Return a tiny model, and one that is slow enough to be busy with an answer for a while."""
    tiny, slow = cache_dir("models") / "tiny.gguf", cache_dir("models") / "slow.gguf"
    if not tiny.exists():
        tiny_model.write(tiny)
    if not slow.exists():
        console.print("models: writing a slower one, so that a server can be busy for most of a minute")
        tiny_model.write(slow, shape=tiny_model.SLOW)
    return tiny, slow


@contextlib.contextmanager
def running_stack(console: Console, router: str) -> Iterator[Stack]:
    """Start everything: servers, daemon, router."""
    with contextlib.ExitStack() as closing:
        found = closing.enter_context(engine.engine())
        client = closing.enter_context(contextlib.closing(found.client())) if found.host else None
        if client is None:
            console.print('engine: without Docker the daemon runs the model servers itself (engine = "process")')
        tiny, slow = models(console)
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="benchai-demo-")))
        plan = Plan(prefix=PREFIX, ports=ports(console), models={BUSY: slow}, router=router)
        stack = closing.enter_context(Stack(folder, tiny, plan, client=client))
        console.print(f"starting: four model servers, benchai-supervisord, a router ({router})")
        yield stack.start_all()


def status(console: Console, stack: Stack) -> None:
    """Show what the operator sees."""
    console.print("\n[bold]$ benchai-supervisorctl status[/]")
    console.print(stack.ctl("status").stdout, highlight=False, markup=False, end="")
    console.print()


def tell_story(console: Console, stack: Stack) -> bool:
    """Let it happen; return whether all of it did."""
    instances = stack.instances()
    tokens = _tokens_for(stack.url(BUSY))
    with (
        Clients(stack.router_url) as clients,
        busy(stack.url(BUSY), tokens=tokens) as working,
        console.status("") as progress,
    ):
        working.wait_first_token()
        watch = Watch(stack, clients, console, progress if console.is_terminal else None)
        console.print(f"[bold]{BUSY}: busy[/] with one answer of {tokens} tokens, and may be")
        console.print("a client asks the router twice a second, streaming every other time")
        with stack.freeze(HUNG):
            watch.chapters.append(Chapter(HUNG, "hung behind a good /health", instances[HUNG], time.monotonic()))
            console.print(f"[bold]{HUNG}: inference thread frozen[/]; its /health still says ok")
            watch.until(lambda: watch.chapters[0].is_over, within_s=STORY_WITHIN_S)
        stack.kill_server(KILLED)
        watch.chapters.append(Chapter(KILLED, "killed", instances[KILLED], time.monotonic()))
        console.print(f"[bold]{KILLED}: killed[/]")
        watch.until(lambda: watch.chapters[1].is_over, within_s=STORY_WITHIN_S)
        answered = _finish_answer(watch, working)
        watch.until(lambda: all(b["verdict"] == "ready" for b in stack.liveness()["backends"]), within_s=30.0)
    after = stack.instances()
    untouched = [name for name in MODELS if after[name] == instances[name]]
    status(console, stack)
    _show(console, watch.chapters, clients, answered=answered)
    return _verdict(console, watch.chapters, clients, untouched=untouched, answered=answered)


def _tokens_for(url: str) -> int:
    """Return how many tokens take the server about `BUSY_S` seconds, here and now."""
    began = time.monotonic()
    chat(url, max_tokens=100, timeout_s=60.0)
    return min(MOST_TOKENS, int(100 / (time.monotonic() - began) * BUSY_S))


def _finish_answer(watch: Watch, working: Busy) -> bool:
    """Wait for the long answer; return whether its client got all of it."""
    watch.until(lambda: working.ended or working.problem is not None, within_s=2 * STORY_WITHIN_S)
    return working.ended and working.problem is None


def _show(console: Console, chapters: list[Chapter], clients: Clients, *, answered: bool) -> None:
    table = Table(title="what happened", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("backend", "fault", "told routers after", "restarted after", "answers again after"):
        table.add_column(column, justify="left" if column in ("backend", "fault") else "right")
    for each in chapters:
        table.add_row(each.backend, each.what, _s(each.told_s), _s(each.restarted_s), _s(each.again_s))
    outcome = "answer whole" if answered else "ANSWER LOST"
    table.add_row(BUSY, "busy with one answer", "never", "never", outcome)
    console.print(table)
    console.print(
        f"requests to the router: {clients.sent} sent, {clients.answered} answered, {clients.refused} refused at once"
        f" with 503, {clients.cut} cut by a fault in mid-answer, slowest {clients.slowest_s:.1f} s,"
        f" requests that hung: [bold]{clients.hung}[/]"
    )


def _s(seconds: float | None) -> str:
    return "NEVER" if seconds is None else f"{seconds:.1f} s"


def _verdict(
    console: Console, chapters: list[Chapter], clients: Clients, *, untouched: list[str], answered: bool
) -> bool:
    checks = {
        "the hung and the killed one were told of, restarted, and answer again": all(c.is_over for c in chapters),
        "nobody else was restarted": set(untouched) == set(MODELS) - {HUNG, KILLED},
        "the busy one's client got its whole answer": answered,
        "no request hung": clients.hung == 0 and clients.sent > 0,
        "every request was answered or refused as it should be": clients.wrong == 0,
        # One slot each: of a server that dies, one answer at most is under way, and nobody else can go on with it.
        "no fault cut more than the one answer it met, and its client was told": clients.cut <= len(chapters),
    }
    for what, happened in checks.items():
        console.print(f"{'[green]yes[/]' if happened else '[red]NO[/] '} {what}")
    for detail in clients.complaints[:5]:
        console.print(f"    {detail}", markup=False)
    return all(checks.values())


def stay(console: Console, stack: Stack) -> bool:
    """Leave everything up until Ctrl-C, and say what one can do with it."""
    ctl = f".venv/bin/benchai-supervisorctl --server unix://{stack.socket}"
    body = '{"model": "auto", "messages": [{"role": "user", "content": "say hi"}], "max_tokens": 10}'
    headers = {"Content-Type": "application/json", **(stack.router.client_headers if stack.router else {})}
    said = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
    console.print(f"ask:     curl {stack.router_url}/v1/chat/completions {said} \\")
    console.print(f"           -d '{body}'", markup=False)
    console.print(
        f"see:     {ctl} status\nliveness: curl {stack.address}/v1/liveness\nlog:     {stack.folder}/daemon.log"
    )
    console.print("Press Enter to freeze a server's inference thread (its /health goes on saying ok), Ctrl-C to end.")
    names = list(MODELS)
    for turn, _ in enumerate(sys.stdin):
        name = names[turn % len(names)]
        with stack.freeze(name):
            console.print(f"{name} is frozen; watch: {ctl} status")
            began = stack.target(name)["instance"]
            while stack.target(name)["instance"] in (None, began):
                time.sleep(0.2)
        console.print(f"{name} was restarted")
    while True:  # no terminal to read from
        time.sleep(3600)


def main() -> int:
    """Run the demo; return 0 only if the story happened."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--router", default="example", choices=KINDS, help="which router stands in front (%(default)s)")
    parser.add_argument("--stay", action="store_true", help="leave everything up until Ctrl-C (make run)")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    try:
        with running_stack(console, arguments.router) as stack:
            status(console, stack)
            happened = stay(console, stack) if arguments.stay else tell_story(console, stack)
    except KeyboardInterrupt:
        console.print("\ninterrupted; everything that was started is gone again")
        return 130
    console.print(f"{'done' if happened else 'FAILED'} in {time.monotonic() - began:.0f} s; nothing is left behind")
    return 0 if happened else 1


if __name__ == "__main__":
    sys.exit(main())
