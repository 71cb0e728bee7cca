"""Make a self-contained image of llama.cpp's own HTTP server out of the running interpreter: offline, in seconds.

Interpreter, standard library, the xllamacpp wheel and the shared libraries they load, imported as one layer and
tagged by what is in it, so an unchanged one is reused. Needs no registry, no Dockerfile and no base image.
"""

import argparse
import hashlib
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import docker
import xllamacpp
from docker.errors import ImageNotFound

REPOSITORY: Final = "benchai-testbed/llama.cpp"
LABEL: Final = "benchai.testbed"
PYTHON: Final = "/usr/bin/python3"  # where the interpreter lies in the image
SCRIPTS: Final = "/srv"
OLD_LLAMA: Final = (PYTHON, "-m", "testbed.old_llama")  # the image's other entrypoint
SITE: Final = "/usr/lib/testbed-site"
LIBRARIES: Final = "/usr/lib/testbed-libs"
LEFT_OUT: Final = re.compile(
    r"^(__pycache__|site-packages|dist-packages|test|tests|idlelib|tkinter|turtledemo|ensurepip|pydoc_data|lib2to3)$"
    r"|^config-\d|\.(a|pyc)$|^_tkinter"
)
HERE: Final = Path(__file__).resolve().parent
CHANGES: Final = (
    f'ENTRYPOINT ["{PYTHON}", "{SCRIPTS}/llama_server.py"]',
    f"ENV PYTHONPATH={SITE}:{SCRIPTS}",
    f"ENV LD_LIBRARY_PATH={LIBRARIES}",
    "ENV LLAMA_ARG_HOST=0.0.0.0",
    f"LABEL {LABEL}=image",
)


def ensure_image(client: docker.DockerClient) -> str:
    """Return the tag of the up-to-date image, making it first where the engine does not have it."""
    tag = f"{REPOSITORY}:{content_hash()}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        _import(client, tag)
    return tag


def tag_as(client: docker.DockerClient, image: str, name: str) -> None:
    """Give `image` a second name, e.g. `ghcr.io/ggml-org/llama.cpp:server`."""
    repository, _, tag = name.rpartition(":")
    client.images.get(image).tag(repository, tag=tag)


def content_hash() -> str:
    """Name what would be in the image, without making it."""
    parts = [sys.version, sysconfig.get_platform(), importlib.metadata.version("xllamacpp"), *CHANGES]
    parts += [file.read_text() for file in (HERE / "image.py", *_programs().values())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _import(client: docker.DockerClient, tag: str) -> None:
    repository, _, version = tag.rpartition(":")
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        with tarfile.open(archive.name, mode="w") as tar:
            _fill(tar)
        client.api.import_image_from_file(archive.name, repository=repository, tag=version, changes=list(CHANGES))
    client.images.get(tag)  # the import reports trouble inside a stream of text: ask for the result instead


def _fill(tar: tarfile.TarFile) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        binaries = [*_interpreter(tar), *_standard_library(tar), *_wheel(tar, Path(scratch))]
        _shared_libraries(tar, binaries)
    for target, source in _programs().items():
        _add(tar, source, target)
    _add_directory(tar, "/tmp", mode=0o1777)  # noqa: S108 - a directory of the image, not of this machine


def _programs() -> dict[str, Path]:
    """Map where our own programs lie in the image to where they lie here: bare scripts, and one package."""
    package = [HERE / "__init__.py", *sorted((HERE / "old_llama").glob("*.py"))]
    scripts = {f"{SCRIPTS}/{name}": HERE / name for name in ("llama_server.py", "freeze.py")}
    return scripts | {f"{SCRIPTS}/testbed/{file.relative_to(HERE)}": file for file in package}


def _interpreter(tar: tarfile.TarFile) -> Iterator[Path]:
    """Add the interpreter that this environment, virtual or not, is based on."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    executable = Path(base).resolve()
    _add(tar, executable, PYTHON, mode=0o755)
    yield executable


def _standard_library(tar: tarfile.TarFile) -> Iterator[Path]:
    """Add the standard library where an interpreter in /usr/bin looks for it, whatever prefix it was built with."""
    target = f"/usr/{sys.platlibdir}/python{sysconfig.get_python_version()}"
    for source in dict.fromkeys(_base_of(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib")):
        for file in _files(source):
            _add(tar, file, f"{target}/{file.relative_to(source)}")
            if file.suffix == ".so":
                yield file


def _base_of(path: Path) -> Path:
    """Translate a path inside a virtual environment to its base installation (`platstdlib` names the former)."""
    return Path(sys.base_prefix, path.relative_to(sys.prefix)) if path.is_relative_to(sys.prefix) else path


def _wheel(tar: tarfile.TarFile, scratch: Path) -> Iterator[Path]:
    """Add xllamacpp, its extension stripped of debug symbols where `strip` is at hand (they are two fifths of it)."""
    package = Path(xllamacpp.__file__).parent
    for file in _files(package):
        slim = file
        if file.suffix == ".so" and shutil.which("strip"):
            slim = scratch / file.name
            subprocess.run(["strip", "-o", slim, file], check=True)
        _add(tar, slim, f"{SITE}/xllamacpp/{file.relative_to(package)}")
        if file.suffix == ".so":
            yield file


def _shared_libraries(tar: tarfile.TarFile, binaries: Iterable[Path]) -> None:
    """Add what the binaries load: the dynamic loader at its own path, the rest in one directory."""
    for name, library in sorted(_closure(binaries).items()):
        is_loader = name.startswith("/")
        _add(tar, library.resolve(), name if is_loader else f"{LIBRARIES}/{name}", mode=0o755)


def _closure(binaries: Iterable[Path]) -> dict[str, Path]:
    """Map the name under which each shared library is asked for to where it lies here."""
    listed = subprocess.run(["ldd", *binaries], check=False, capture_output=True, text=True).stdout
    loaders = {path: Path(path) for path in re.findall(r"^\s+(/\S+) \(0x", listed, re.MULTILINE)}
    return loaders | {name: Path(path) for name, path in re.findall(r"^\s+(\S+) => (/\S+)", listed, re.MULTILINE)}


def _files(root: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not LEFT_OUT.search(name))
        yield from (Path(directory, name) for name in sorted(files) if not LEFT_OUT.search(name))


def _add(tar: tarfile.TarFile, source: Path, target: str, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(target.lstrip("/"))
    content = source.read_bytes()
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _add_directory(tar: tarfile.TarFile, target: str, *, mode: int) -> None:
    entry = tarfile.TarInfo(target.lstrip("/"))
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the image, and give it further names where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="*", help="tag it as this too")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    client = docker.from_env()
    try:
        tag = ensure_image(client)
        for name in asked.name:
            tag_as(client, tag, name)
        size = client.images.get(tag).attrs["Size"] / 1e6
    finally:
        client.close()
    print(f"{tag}: {size:.0f} MB, {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
