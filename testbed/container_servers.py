"""Model servers in containers of the testbed's image, published on the loopback."""

import contextlib
import os
import signal
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from testbed import owner
from testbed.clients import LOOPBACK, free_port, wait_ready, wait_until
from testbed.image import LABEL, PYTHON, SCRIPTS
from testbed.leaving import Leaving

OWNER_LABEL: Final = f"{LABEL}.owner"
GROUP_LABEL: Final = f"{LABEL}.group"  # one process may hold several of these objects
INNER_PORT: Final = 8080
INNER_URL: Final = f"http://{LOOPBACK}:{INNER_PORT}"
CPU_PERIOD_US: Final = 100_000
FREEZE_WITHIN_S: Final = 90.0  # freeze.py itself gives up after 60 s without work


class FrozenContainer(Leaving):
    """A second container that holds one thread of the first."""

    def __init__(self, holder: Container) -> None:
        self._holder = holder

    def release(self) -> None:
        """Let go by ending the holder: the kernel then detaches it."""
        _remove(self._holder)

    def leave(self) -> None:
        """Release the thread."""
        self.release()


class ContainerServers(Leaving):
    """Servers by container name. Not thread-safe, as the Docker SDK is not; `client` stays the caller's."""

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        self._client = client
        self._image = image
        self._labels = {LABEL: "server", OWNER_LABEL: owner.me(), GROUP_LABEL: uuid.uuid4().hex}
        self._remove_leftovers()

    def leave(self) -> None:
        """Remove what was made here."""
        self.remove_all()

    def run(
        self,
        name: str,
        model: Path,
        *flags: str,
        port: int | None = None,
        ready: bool = True,
        cpus: float | None = None,
        memory: str | None = None,
        publish: Mapping[int, int] | None = None,
        labels: Mapping[str, str] | None = None,
        **more: Any,
    ) -> str:
        """Start a server and return its URL.

        `cpus` is a share of the machine's cores, given once it is ready (see `throttle`), `memory` is the engine's
        limit (`"64m"`), `publish` maps further ports of the container to ports of the loopback, `more` goes to the
        SDK's `containers.run` as it is (`entrypoint`, `healthcheck`, `restart_policy`, ...); there is no restart policy
        unless given: what restarts it here is what we test.
        """
        port = port or free_port()
        self._client.containers.run(
            self._image,
            ["-m", f"/models/{model.name}", *flags],
            name=name,
            detach=True,
            labels={**self._labels, **(labels or {})},
            ports={f"{inner}/tcp": (LOOPBACK, outer) for inner, outer in {INNER_PORT: port, **(publish or {})}.items()},
            volumes=[f"{model.resolve().parent}:/models:ro"],
            mem_limit=memory,
            **more,
        )
        url = f"http://{LOOPBACK}:{port}"
        if ready:
            self._wait_ready(name, url)
        if cpus:
            self.throttle(name, cpus)
        return url

    def container(self, name: str) -> Container:
        """Return the SDK's object for `name`, freshly asked for."""
        return self._client.containers.get(name)

    def pid(self, name: str) -> int | None:
        """Return the server's process id on the engine's host, None where it does not run."""
        return self.container(name).attrs["State"]["Pid"] or None

    def freeze(self, name: str, *, mid_answer: bool = False, when_busy: bool = False) -> FrozenContainer:
        """Stop the inference thread from a second container, which needs no rights on the host."""
        flags = ["--mid-answer"] * mid_answer + ["--when-busy"] * when_busy
        holder = self._client.containers.run(
            self._image,
            ["1", "--url", INNER_URL, *flags],
            entrypoint=[PYTHON, f"{SCRIPTS}/freeze.py"],
            detach=True,
            labels=self._labels,
            pid_mode=f"container:{name}",
            network_mode=f"container:{name}",
            cap_add=["SYS_PTRACE"],
        )
        try:
            wait_until(lambda: _holds(holder), f"{name} frozen", within_s=FREEZE_WITHIN_S)
        except BaseException:
            _remove(holder)
            raise
        return FrozenContainer(holder)

    def kill(self, name: str) -> None:
        """Kill the server's process from outside: `docker kill` would be an operator's stop to the engine."""
        pid = self._signal(name, signal.SIGKILL)
        # A restart policy may have the next one up already.
        wait_until(lambda: self.pid(name) != pid, f"{name} dead", within_s=10.0)

    def halt(self, name: str) -> None:
        """Stop the server's process with SIGSTOP from outside: unlike `pause`, the engine does not know of it."""
        self._signal(name, signal.SIGSTOP)

    def pause(self, name: str) -> None:
        """Freeze the whole container."""
        self.container(name).pause()

    def resume(self, name: str) -> None:
        """Undo `pause`."""
        self.container(name).unpause()

    def throttle(self, name: str, cpus: float) -> None:
        """Give a running server that many cores: 0.05 makes the tiny model answer about 120 tokens/s."""
        self.container(name).update(cpu_period=CPU_PERIOD_US, cpu_quota=int(cpus * CPU_PERIOD_US))

    def log(self, name: str) -> str:
        """Return what the server printed."""
        return bytes(self.container(name).logs()).decode(errors="replace")

    def remove(self, name: str) -> None:
        """Remove the container, whatever state it is in."""
        with contextlib.suppress(NotFound):
            _remove(self.container(name))

    def remove_all(self) -> None:
        """Remove all containers that this object made."""
        for container in self._labelled(f"{GROUP_LABEL}={self._labels[GROUP_LABEL]}"):
            _remove(container)

    def _wait_ready(self, name: str, url: str) -> None:
        try:
            wait_ready(url, lives=lambda: self.pid(name) is not None)
        except (ChildProcessError, TimeoutError) as problem:
            problem.add_note(self.log(name))
            raise

    def _signal(self, name: str, number: signal.Signals) -> int:
        """Signal the server's process, unseen by the engine, and return its id."""
        container = self.container(name)
        pid = int(container.attrs["State"]["Pid"])
        if not (_is_ours_to_signal(pid, container.id or "") and _signalled(pid, number)):
            self._signal_from_beside(pid, number)
        return pid

    def _signal_from_beside(self, pid: int, number: signal.Signals) -> None:
        """Send the signal from a container that sees the host's processes: we may not be root, or not on that host."""
        script = f"import os; os.kill({pid}, {number:d})"
        self._client.containers.run(
            self._image, ["-c", script], entrypoint=[PYTHON], pid_mode="host", labels=self._labels, remove=True
        )

    def _remove_leftovers(self) -> None:
        for container in self._labelled(OWNER_LABEL):
            if owner.is_gone(container.labels.get(OWNER_LABEL, "")):
                _remove(container)

    def _labelled(self, label: str) -> list[Container]:
        # Others remove containers while we list them.
        every = self._client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        return sorted(every, key=lambda container: container.attrs["Created"], reverse=True)  # holders before servers


def _holds(holder: Container) -> bool:
    log = bytes(holder.logs()).decode(errors="replace")
    holder.reload()
    if "frozen tid" not in log and holder.status == "exited":
        raise RuntimeError(f"the thread could not be frozen: {log.strip()}")
    return "frozen tid" in log


def _is_ours_to_signal(pid: int, container_id: str) -> bool:
    """Say whether `pid` is, on this very machine, the container's process: the engine may live elsewhere."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _signalled(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except PermissionError:
        return False
    return True


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except NotFound:
        pass
    except APIError as refused:
        if refused.status_code != 409:  # 409: somebody else is removing it this moment
            raise
