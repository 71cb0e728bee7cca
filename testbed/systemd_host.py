"""A host that runs systemd: a container with systemd as its first process, a system bus, a journal and polkit.

It is looked at from outside, as the supervisor on a host looks at its own: by the bus, and by the files of the host.
Those are the container's as its first process sees them, which only root may follow.
"""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import docker
from docker.errors import APIError, ImageNotFound

from testbed import owner
from testbed.base_image import ensure_base_image
from testbed.cache import REPOSITORY
from testbed.clients import wait_until
from testbed.container_servers import OWNER_LABEL
from testbed.image import LABEL
from testbed.leaving import Leaving

IMAGE: Final = "benchai-testbed/systemd"
SOURCES: Final = (
    Path(__file__).parent / "systemd" / "Dockerfile",
    Path(__file__).parent / "systemd" / "init.sh",
    REPOSITORY / "packaging" / "polkit" / "50-benchai-supervisor.rules",
)
USER: Final = "benchai-supervisor"  # of the polkit rule
BUS: Final = "run/dbus/system_bus_socket"
UNITS: Final = "run/systemd/system"
BOOT_WITHIN_S: Final = 60.0
COMMAND_WITHIN_S: Final = 60.0


def obstacle() -> str | None:
    """Return why none can be had here; None: it can."""
    if os.geteuid() != 0:
        return "it takes root to look into its container"
    return None if shutil.which("nsenter") else "there is no program nsenter here (apt-get install util-linux)"


def ensure_systemd_image(client: docker.DockerClient) -> str:
    """Return the tag of the image, built first where the engine does not have it."""
    base = ensure_base_image(client)
    content = {path.name: path.read_bytes() for path in SOURCES}
    tag = f"{IMAGE}:{hashlib.sha256(repr((base, content)).encode()).hexdigest()[:16]}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        _build(client, tag, base, content)
    return tag


def _build(client: docker.DockerClient, tag: str, base: str, content: Mapping[str, bytes]) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    labels = {LABEL: "systemd"}
    client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True, buildargs={"BASE": base}, labels=labels)


class SystemdHost(Leaving):
    """One such host; `client` stays the caller's. `cgroups` is the version of control groups that it has."""

    def __init__(self, client: docker.DockerClient, image: str, *, cgroups: int = 2, has_network: bool = False) -> None:
        labels = {LABEL: "systemd", OWNER_LABEL: owner.me()}
        _remove_leftovers(client)
        self._container = client.containers.run(
            image,
            detach=True,
            name=f"systemd-{uuid.uuid4().hex[:8]}",
            labels=labels,
            cap_add=["SYS_ADMIN"],
            cgroupns="private",
            network_mode="bridge" if has_network else "none",
            environment={"CGROUPS": str(cgroups)},
            tmpfs={"/run": "exec", "/run/lock": "", "/tmp": "exec"},  # noqa: S108 - the container's own
        )
        self._boot()

    def reboot(self) -> None:
        """Shut it down in order, and boot it anew; what is in /run and /tmp is lost."""
        self._container.restart(timeout=int(BOOT_WITHIN_S))
        self._boot()

    @property
    def address(self) -> str:
        """Its address in the network that it was given."""
        return str(self._container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])

    @property
    def root(self) -> Path:
        """Where its files are seen from here."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def bus(self) -> str:
        """The address of its system bus."""
        return f"unix:path={self.root / BUS}"

    @property
    def journalctl(self) -> tuple[str, ...]:
        """The command that reads its journal."""
        return (*self._enter, "journalctl")

    def leave(self) -> None:
        """Remove it."""
        with contextlib.suppress(APIError):
            self._container.remove(force=True)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command on it as root, and return what that printed."""
        done = subprocess.run(
            [*self._enter, *command], capture_output=True, text=True, check=False, timeout=COMMAND_WITHIN_S
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:4])}: {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl on it, as its operator."""
        return self.run("systemctl", *arguments, check=check)

    def write_unit(self, name: str, text: str) -> Path:
        """Write a unit file; systemd finds a new one by itself, and a changed one after a daemon-reload."""
        path = self.root / UNITS / name
        path.write_text(text)
        return path

    def uid(self, user: str) -> int:
        """Return the number of a user of its."""
        return int(self.run("id", "-u", user))

    def _boot(self) -> None:
        self._container.reload()
        self.pid = int(self._container.attrs["State"]["Pid"])
        wait_until(self._has_booted, "systemd has booted", within_s=BOOT_WITHIN_S)

    @property
    def _enter(self) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self.pid), "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--")

    def _has_booted(self) -> bool:
        return self.systemctl("is-system-running", check=False).strip() in ("running", "degraded")


@contextlib.contextmanager
def in_container(client: docker.DockerClient, *, cgroups: int = 2, has_network: bool = False) -> Iterator[SystemdHost]:
    """Have such a host for as long as the block lasts."""
    with SystemdHost(client, ensure_systemd_image(client), cgroups=cgroups, has_network=has_network) as host:
        (host.root / UNITS).mkdir(parents=True, exist_ok=True)
        yield host


def _remove_leftovers(client: docker.DockerClient) -> None:
    """Remove what runs that were interrupted have left behind."""
    for container in client.containers.list(all=True, filters={"label": f"{LABEL}=systemd"}):
        if owner.is_gone(container.labels.get(OWNER_LABEL, "")):
            with contextlib.suppress(APIError):
                container.remove(force=True)
