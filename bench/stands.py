"""One server of the matrix: how it is made, where it stands, and what can be done to it. Its spells are elsewhere."""

import uuid
from dataclasses import dataclass
from typing import Final

import docker

from bench.askers import CLIENT
from bench.world import PREFIX
from testbed import tiny_model
from testbed.clients import LOOPBACK, chat_body, free_port, wait_ready
from testbed.container_servers import ContainerServers
from testbed.leaving import Leaving
from testbed.old_llama.faults import Fault
from testbed.old_servers import OldServer, run_old

READY_WITHIN_S: Final = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a server does in a second of CPU."""

    prefilled: float
    generated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Make:
    """How a server is made: the real one, or the fake of an old one where `old` says how fast that is."""

    flags: tuple[str, ...] = ()
    shape: tiny_model.Shape = tiny_model.TINY
    old: Pace | None = None
    cpus: float = 1.0  # its share of a core once it is ready; a start takes what it can get
    settings: str = ""  # what the daemon's settings say of it besides
    api_key: str = ""

    @property
    def kind(self) -> str:
        """Name what makes it as fast as it is, but for its share of a core."""
        return f"{self.shape} {self.old}"


class Stand(Leaving):
    """A server in its container, always at the same address; used by one thread, with a client of its own."""

    def __init__(self, client: docker.DockerClient, image: str, name: str, make: Make) -> None:
        self.name = name
        self.make = make
        self.container = f"{PREFIX}{name}-{uuid.uuid4().hex[:6]}"  # two matrices may run at the same time
        self.servers = ContainerServers(client, image)
        self.own_starts = 0  # that we made ourselves
        self._port = free_port()
        self._old: OldServer | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def headers(self) -> dict[str, str]:
        """What its users send along."""
        return {"Authorization": f"Bearer {self.make.api_key}"} if self.make.api_key else {}

    def leave(self) -> None:
        """Remove it."""
        self.servers.remove_all()

    def start(self, *flags: str, ready: bool = True, cpus: float | None = None) -> None:
        """Start it, throttled to its share from when it is ready, or at once where nobody waits for that."""
        self.own_starts += 1
        model = tiny_model.ensure(shape=self.make.shape)
        given = [*self.make.flags, *flags]
        if self.make.old:
            pace = ["--prefill-rate", str(self.make.old.prefilled), "--generate-rate", str(self.make.old.generated)]
            self._old = run_old(self.servers, self.container, model, *pace, *given, port=self._port, ready=ready)
        else:
            self.servers.run(self.container, model, *given, port=self._port, ready=ready)
        self.servers.throttle(self.container, cpus or self.make.cpus)

    def start_anew(self, *flags: str, ready: bool = True, cpus: float | None = None) -> None:
        """Replace it, as an operator does: same name, same address, another life."""
        self.servers.remove(self.container)
        self.start(*flags, ready=ready, cpus=cpus)

    def wait_ready(self) -> None:
        """Wait until its model is in memory."""
        wait_ready(self.url, within_s=READY_WITHIN_S)

    def suffer(self, fault: Fault) -> None:
        """Switch on one of the fake's faults."""
        assert self._old is not None, "only the fake can be told to"  # noqa: S101
        self._old.suffer(fault)

    def target(self) -> str:
        """Return what the daemon's settings say of it: nothing but where it is, unless it must be wrong."""
        return (
            f'[[backends]]\nname = "{self.name}"\nurl = "{self.url}"\nmodels = ["{self.name}"]\nengine = "docker"\n'
            f'container = "{self.container}"\n{self.make.settings}'
        )


def pace_of(stand: Stand) -> Pace:
    """Return what a server does in a second of CPU, measured on one that has a core to itself; a fake is told."""
    if stand.make.old:
        return stand.make.old
    body = chat_body(" ".join(tiny_model.WORDS * 6), max_tokens=60)
    reply = CLIENT.post(f"{stand.url}/v1/chat/completions", json=body, headers=stand.headers)
    timings = reply.raise_for_status().json()["timings"]
    return Pace(prefilled=timings["prompt_per_second"], generated=timings["predicted_per_second"])
