"""A host as an operator has it: systemd, model servers and a router as units of it, and nothing of the supervisor yet.

There is a copy of this repository on it, and Python packages to be had as from a mirror, without any network.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import ImageNotFound

from testbed import tiny_model
from testbed.cache import REPOSITORY
from testbed.image import LABEL
from testbed.systemd_host import SystemdHost, ensure_systemd_image

IMAGE: Final = "benchai-testbed/operated"
DOCKERFILE: Final = Path(__file__).parent / "systemd" / "operated.Dockerfile"
LOCKS: Final = ("runtime.txt", "build.txt")
TREE: Final = Path("/srv/benchai-supervisor")  # where the copy of the repository is
MODELS: Final = Path("/srv/models")
PYTHON: Final = "/opt/served/bin/python"  # with all that servers and the router need
BACKENDS: Final[Mapping[str, int]] = {"general": 8091, "code": 8093}
ROUTER, ROUTER_PORT = "benchai", 8085
SHELL_WITHIN_S: Final = 240.0


def ensure_operated_image(client: docker.DockerClient) -> str:
    """Return the tag of the image, built first where the engine does not have it."""
    base = ensure_systemd_image(client)
    served = f"xllamacpp=={importlib.metadata.version('xllamacpp')}\n"
    content = {name: (REPOSITORY / "requirements" / name).read_bytes() for name in LOCKS}
    content |= {"Dockerfile": DOCKERFILE.read_bytes(), "served.txt": served.encode()}
    tag = f"{IMAGE}:{hashlib.sha256(repr((base, content)).encode()).hexdigest()[:16]}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        labels, context = {LABEL: "operated"}, _tar(content)
        client.images.build(
            fileobj=context, custom_context=True, tag=tag, rm=True, buildargs={"BASE": base}, labels=labels
        )
    return tag


class OperatedHost(SystemdHost):
    """One such host; its servers and its router are units that do not run yet."""

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        super().__init__(client, image)
        _copy_tree(self.at(TREE))
        self.at(MODELS).mkdir(parents=True)
        model = tiny_model.ensure()
        shutil.copy(model, self.at(MODELS))
        program = f"{PYTHON} {TREE}/testbed/llama_server.py"
        for name, port in BACKENDS.items():
            self.install_unit(name, f"{program} -m {MODELS / model.name} --port {port} -np 1 -c 2048")
        # Its own /health answers whatever becomes of it: two signals make it hang (tests/daemon/faulty_router.py).
        self.install_unit(ROUTER, f"{PYTHON} -m tests.daemon.faulty_router", f"WorkingDirectory={TREE}")

    def at(self, path: Path) -> Path:
        """Return where a path of the host is seen from here."""
        return self.root / path.relative_to("/")

    def install_unit(self, name: str, command: str, *lines: str) -> None:
        """Write a service's unit file where an operator does, to be started at the boot."""
        text = [
            "[Service]",
            f"ExecStart={command}",
            "Restart=no",
            *lines,
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
        self.at(Path("/etc/systemd/system") / f"{name}.service").write_text("\n".join(text))

    def shell(self, script: str, *, cwd: Path = TREE, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run lines of shell as root types them, each after the last has succeeded."""
        ran = subprocess.run(
            [*self._enter, "sh", "-ec", f"cd {cwd}\n{script}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=SHELL_WITHIN_S,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LANG": "C.UTF-8",
            },
        )
        if check and ran.returncode != 0:
            raise RuntimeError(f"{script.strip()}\nended with {ran.returncode}: {ran.stdout}{ran.stderr}")
        return ran

    def show(self, unit: str, *keys: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.systemctl("show", *(f"--property={key}" for key in keys), unit).splitlines()
        return dict(line.split("=", 1) for line in lines)


@contextlib.contextmanager
def operated_host(client: docker.DockerClient) -> Iterator[OperatedHost]:
    """Have such a host for as long as the block lasts."""
    with OperatedHost(client, ensure_operated_image(client)) as host:
        yield host


def _tar(content: Mapping[str, bytes]) -> Any:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    stream.seek(0)
    return stream


def _copy_tree(to: Path) -> None:
    """Copy what is in the repository, as a clone of it would be: nothing that is made or ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPOSITORY / name, to / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
