"""What a router under test lives in: model servers, a real daemon that runs and watches them, and the router in front.

`general`, `planner` and `code` are real and answer at once. `vision` is the fake of an old llama.cpp, which takes its
time: nothing real can be held while it loads, nor be made to answer slowly without a machine to itself.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from testbed.cache import REPOSITORY
from testbed.clients import free_port, wait_until
from testbed.image import OLD_LLAMA
from testbed.leaving import Leaving
from testbed.process_servers import freeze_process, server_command
from testbed.routers.base import Router, Served
from testbed.routers.tap import Taps
from testbed.supervisord import Supervisord, toml

QUICK: Final = ("general", "planner", "code")  # whom `auto` may ask, in this order
SLOW: Final = "vision"
ALIASES: Final = {"general": "general", "planner": "planner", "research": "planner", "code": "code", "vision": "vision"}
BACKENDS: Final = (*QUICK, SLOW)
VALID_FOR_S: Final = 3.0
LOADS_S: Final = 2.0  # how long `vision` says that it is loading
TOKENS_PER_S: Final = 20  # of `vision`
PATIENCE_S: Final = 30.0  # for what the daemon does and says
# One slot, as BenchAI's: whoever comes while it is taken must wait. The context outlasts every stream of a test.
FLAGS: Final = ("-np", "1", "-c", "131072", "-t", "1", "--metrics", "--cache-ram", "0")
SLOW_FLAGS: Final = ("--slots", "--metrics", "--load-s", f"{LOADS_S:g}", "--generate-rate", f"{TOKENS_PER_S}")
# As quick as the rules of the settings allow, and ready to be maltreated again and again.
POLICY: Final = {
    "tick_s": 1.0,
    "close_tick_s": 0.25,
    "starting_tick_s": 0.25,
    "look_timeout_s": 1.0,  # on a starved machine a healthy server may take half a second, and is suspected for it
    "canary_retry_s": 0.5,
    "hung_after_s": 2.0,
    "cpu_idle_share": 0.1,  # of so short a look, a single tick of the kernel's clock is a few per cent
    "backoff_first_s": 0.1,
    "backoff_max_s": 0.2,
    "budget_restarts": 1000,
    "flap_limit": 1000,
    "probation_s": 0.1,
}


class World(Leaving):
    """One router and all that it stands in front of. Every disturbance ends with its `with` block."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        kind: type[Router],
        *,
        policy: Mapping[str, float] = POLICY,
        valid_for_s: float = VALID_FOR_S,
    ) -> None:
        """Start nothing yet."""
        self._model = model
        self._policy = policy
        self._valid_for_s = valid_for_s
        self._pids: dict[str, int] = {}
        self.taps = Taps(BACKENDS)
        self.daemon = Supervisord(folder)
        self.agent_port = free_port()
        self.router = kind(folder / "router", self._served())

    def start(self) -> None:
        """Start everything and return once all of it is ready."""
        self.daemon.write_settings(self._settings(), valid_for_s=self._valid_for_s)
        self.daemon.start()
        self.daemon.wait_answers()
        self.router.start()
        self.wait_calm()

    def leave(self) -> None:
        """End the router, the daemon and the servers, whatever state they are in."""
        self.router.leave()
        self.daemon.stop()  # it ends what it runs
        for pid in self._pids.values():  # unless it was dead already
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.taps.leave()

    def wait_calm(self) -> None:
        """Wait until every backend is ready and none of them busy."""
        self._wait(lambda: all(entry["verdict"] == "ready" for entry in self._entries().values()), "all are ready")
        self._pids = {each["name"]: each["pid"] for each in self.daemon.status()["targets"]}

    def wait_told(self, *names: str, **wanted: object) -> None:
        """Wait until the daemon says so of these backends, and the router has had time to hear it."""

        def is_told() -> bool:
            entries = self._entries()
            return all(entries[name][key] == value for name in names for key, value in wanted.items())

        self._wait(is_told, f"{', '.join(names)}: told to be {wanted}")
        time.sleep(self.router.hears_within_s)

    # --- what may befall a backend ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Have the daemon do nothing about a backend."""
        self._operate(name, "hold")
        try:
            yield
        finally:
            self._operate(name, "release")

    @contextlib.contextmanager
    def frozen(self, *names: str, held: bool = True) -> Iterator[None]:
        """Stop inference threads and nothing else; `held` keeps the daemon from restarting those servers."""
        with contextlib.ExitStack() as undo:
            for name in names:
                if held:
                    undo.enter_context(self.held(name))
                tap = self.taps[name]
                undo.enter_context(
                    freeze_process(self.daemon.target(name)["pid"], f"http://127.0.0.1:{tap.server_port}")
                )
            yield

    @contextlib.contextmanager
    def killed(self, name: str, *, held: bool = True) -> Iterator[None]:
        """Kill a server as a crash does."""
        with self.held(name) if held else contextlib.nullcontext():
            os.killpg(self.daemon.target(name)["pid"], signal.SIGKILL)
            yield
        if held:
            self.wait_told(name, routable=True)

    @contextlib.contextmanager
    def stopped(self, name: str, *, wait_s: float = PATIENCE_S) -> Iterator[None]:
        """Have a server stopped as an operator does, who lets it finish what it has; begun by `wait_s` at most."""
        asking = threading.Thread(target=lambda: self._operate(name, "stop"), daemon=True)
        asking.start()
        asking.join(wait_s)
        try:
            yield
        finally:
            asking.join(PATIENCE_S)
            self._operate(name, "start")

    @contextlib.contextmanager
    def starting(self, name: str) -> Iterator[None]:
        """Have a server started again, and go on while it loads."""
        with self.stopped(name):
            pass_on = threading.Thread(target=lambda: self._operate(name, "start"), daemon=True)
            pass_on.start()
            yield
            pass_on.join(PATIENCE_S)

    @contextlib.contextmanager
    def restarting(self, name: str) -> Iterator[None]:
        """Have a server restarted as an operator does, and go on meanwhile."""
        asking = threading.Thread(target=lambda: self._operate(name, "restart"), daemon=True)
        asking.start()
        try:
            yield
        finally:
            asking.join(PATIENCE_S)

    # --- what may befall the daemon -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def daemon_killed(self) -> Iterator[None]:
        """Go on without the daemon; another takes over at the end."""
        self.daemon.kill()
        try:
            yield
        finally:
            self.daemon.start()
            self.daemon.wait_answers()

    @contextlib.contextmanager
    def daemon_paused(self) -> Iterator[None]:
        """Stop the daemon in its tracks."""
        self.daemon.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.daemon.signal(signal.SIGCONT)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _operate(self, name: str, verb: str) -> None:
        transport = httpx.HTTPTransport(uds=str(self.daemon.socket))
        with httpx.Client(transport=transport, base_url="http://daemon", timeout=2 * PATIENCE_S) as client:
            client.post(f"/v1/targets/{name}/{verb}?wait_s={PATIENCE_S:g}").raise_for_status()

    def _entries(self) -> dict[str, Mapping[str, Any]]:
        self.daemon.check_alive()
        return {entry["name"]: entry for entry in self.daemon.liveness()["backends"]}

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        try:
            wait_until(holds, what, within_s=PATIENCE_S)
        except TimeoutError as late:
            late.add_note(f"{self._entries()}\n{self.daemon.log()[-3000:]}\n{self.router.log()[-3000:]}")
            raise

    def _served(self) -> Served:
        behind = {alias: (name,) for alias, name in ALIASES.items()}
        return Served(
            backends={name: self.taps[name].url for name in BACKENDS},
            models={**behind, "auto": QUICK},
            liveness_file=self.daemon.liveness_file,
            supervisor_url=self.daemon.address,
            control_socket=self.daemon.socket,
            agent_port=self.agent_port,
            extra={"SUPERVISOR_FALL": "2"},  # HAProxy's: silent checks that take VALID_FOR_S
        )

    def _settings(self) -> str:
        policy = "".join(f"{key} = {toml(value)}\n" for key, value in self._policy.items())
        backends = "".join(self._backend(name) for name in BACKENDS)
        # All of them do not run yet at the start, which is no shared trouble to be waited out.
        recovery = f"[recovery]\nrestarts_at_once = {len(BACKENDS)}\nshared_freeze_s = 0.1\n"
        agent = f"[agent]\nport = {self.agent_port}\n"
        return f"[process]\nstop_on_exit = true\n{agent}{recovery}[policy]\n{policy}{backends}"

    def _backend(self, name: str) -> str:
        port = self.taps[name].server_port
        if name == SLOW:
            command = [sys.executable, *OLD_LLAMA[1:], "--port", str(port), *SLOW_FLAGS]
        else:
            command = server_command(self._model, port, *FLAGS)
        models = [alias for alias, behind in ALIASES.items() if behind == name]
        return (
            f'[[backends]]\nname = "{name}"\nurl = "{self.taps[name].url}"\nmodels = {toml(models)}\n'
            f'engine = "process"\ncommand = {toml(command)}\nenvironment = {{ PYTHONPATH = {toml(REPOSITORY)} }}\n'
        )
