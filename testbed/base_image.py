"""Make a local stand-in for `python:3.11-slim` where no registry can be reached: Debian, with Debian's own Python.

Two layers. `benchai-testbed/debian:bookworm` is the dear one, a plain minimal Debian (the official image is one too),
made once with mmdebstrap from this machine's mirror: a third of the time debootstrap takes, without mounts or
device nodes. The stand-in on top of it holds what depends on this machine and on today, so that pip inside a build
works as it does outside: pip's indexes and the CA bundle. They belong here and never in a Dockerfile that users get.
"""

import argparse
import ast
import contextlib
import hashlib
import io
import os
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import docker
from docker.errors import ImageNotFound

from testbed import debian
from testbed.debian import NotToBeHad
from testbed.image import LABEL, tag_as

SUITE: Final = "bookworm"  # brings Python 3.11
DEBIAN: Final = f"benchai-testbed/debian:{SUITE}"
STAND_IN: Final = "benchai-testbed/python"
PACKAGES: Final = "python3,python3-venv,ca-certificates"
LEFT_OUT: Final = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
RECIPE: Final = hashlib.sha256(repr((SUITE, PACKAGES, LEFT_OUT)).encode()).hexdigest()[:16]
RECIPE_LABEL: Final = f"{LABEL}.recipe"  # the tag says no more than the suite
BOOTSTRAP_TIMEOUT_S: Final = 600
CA_BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"  # where Debian's OpenSSL looks
PIP_KEYS: Final = ("index-url", "extra-index-url", "proxy", "timeout", "default-timeout", "retries")
DOCKERFILE: Final = f'FROM {DEBIAN}\nADD here.tar /\nLABEL {LABEL}=base\nCMD ["python"]\n'


def ensure_base_image(client: docker.DockerClient, name: str | None = None) -> str:
    """Return the tag of the stand-in that fits this machine, made first where need be, and also tag it as `name`.

    Raises:
        NotToBeHad: it cannot be made here; the message says why and what to do.
    """
    if _labels(client, DEBIAN).get(RECIPE_LABEL) != RECIPE:
        _bootstrap(client)
    here = _here()
    tag = f"{STAND_IN}:{hashlib.sha256(here + (RECIPE + DOCKERFILE).encode()).hexdigest()[:16]}"
    if not _labels(client, tag):
        _build(client, tag, here)
    if name:
        tag_as(client, tag, name)
    return tag


def _labels(client: docker.DockerClient, tag: str) -> dict[str, str]:
    """Return an image's labels, of which ours all have some; none where there is no such image."""
    with contextlib.suppress(ImageNotFound):
        return client.images.get(tag).labels
    return {}


def _bootstrap(client: docker.DockerClient) -> None:
    """Make a minimal Debian and import it as one layer."""
    debian.ensure_tool("mmdebstrap", "mmdebstrap")
    print(f"base image: making a minimal Debian {SUITE} (about half a minute, once)", file=sys.stderr, flush=True)
    repository, _, version = DEBIAN.partition(":")
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "debian.tar")
        slim = [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
        where = [mirror] if (mirror := debian.mirror()) else []  # else what mmdebstrap has built in
        debian.run_logged(
            ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", *slim, SUITE, str(archive), *where],
            log="mmdebstrap.log",
            timeout_s=BOOTSTRAP_TIMEOUT_S,
        )
        labels = f"LABEL {LABEL}=base {RECIPE_LABEL}={RECIPE}"
        client.api.import_image_from_file(str(archive), repository=repository, tag=version, changes=[labels])
    client.images.get(DEBIAN)  # the import reports trouble inside a stream of text: ask for the result instead


def _build(client: docker.DockerClient, tag: str, here: bytes) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        _add(tar, "Dockerfile", DOCKERFILE.encode())
        _add(tar, "here.tar", here)
    context.seek(0)
    client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)


def _here() -> bytes:
    """Return, as a tar of files for `/`, what the official image has and Debian has not, and what is this machine's."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        link = tarfile.TarInfo("usr/local/bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
        tar.addfile(link)
        _add(tar, "etc/pip.conf", _pip_configuration().encode())
        _add(tar, CA_BUNDLE, _ca_bundle())
    return archive.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))


def _pip_configuration() -> str:
    """Translate what pip is told here, by files and environment, for a place where this machine's files are not."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    told = dict(line.split("=", 1) for line in listed.stdout.splitlines() if "=" in line)
    lines = ["[global]", f"cert = {CA_BUNDLE}"]
    for key in PIP_KEYS:
        # pip's order: the environment over any section of a file
        value = next((told[found] for found in (f":env:.{key}", f"global.{key}") if found in told), None)
        words = [word for word in str(ast.literal_eval(value)).split() if not _is_local(word)] if value else []
        if words:
            lines.append(f"{key} = {' '.join(words)}")
    return "\n".join([*lines, ""])


def _is_local(word: str) -> bool:
    return word.startswith(("file:", "/", "."))


def _ca_bundle() -> bytes:
    """Return the certificates that programs here trust."""
    usual = ssl.get_default_verify_paths()
    for path in (os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE"), CA_BUNDLE, usual.cafile):
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    raise NotToBeHad("no CA bundle here: install ca-certificates")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the image, and give it further names where asked."""
    parser = argparse.ArgumentParser(prog="testbed.base_image", description=main.__doc__)
    parser.add_argument("name", nargs="?", help="tag it as this too, e.g. python:3.11-slim")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    client = docker.from_env()
    try:
        tag = ensure_base_image(client, asked.name)
        size = client.images.get(tag).attrs["Size"] / 1e6
    except NotToBeHad as problem:
        print(f"base image: {problem}", file=sys.stderr)
        return 1
    finally:
        client.close()
    print(f"{tag}: {size:.0f} MB, {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
