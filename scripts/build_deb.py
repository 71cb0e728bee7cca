"""Build the Debian package for the Python of this machine: `make deb`, with nothing but Python, venv and dpkg-deb.

It holds an environment of its own in /usr/lib, with the locked packages, so it needs nothing of pip's where it is
installed; and because those are built for one Python, it depends on that one. The rest is what an installation writes.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from supervisor import __version__  # noqa: E402
from supervisor.install.layout import COMMANDS, NAME, PACKAGED, copies  # noqa: E402

PREFIX = Path("/usr/lib") / NAME
PYTHON = "/usr/bin/python3"  # Debian's own: another one is not there where the package is installed
CONTROL = ROOT / "packaging/debian"
PIP = ("--disable-pip-version-check", "--quiet")
DOC = Path("/usr/share/doc") / NAME


def main() -> int:
    """Build it into dist/, and say where it is."""
    if shutil.which("dpkg-deb") is None or not Path(PYTHON).exists():
        print(f"deb: needs Debian's or Ubuntu's dpkg-deb and {PYTHON}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="deb-") as scratch:
        root = Path(scratch) / "root"
        root.mkdir(mode=0o755)
        _environment(root, Path(scratch))
        _files(root)
        _papers(root)
        architecture = _said("dpkg", "--print-architecture")
        _control(root, architecture)
        target = ROOT / f"dist/{NAME}_{__version__}_{architecture}.deb"
        target.parent.mkdir(exist_ok=True)
        _run("dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", str(root), str(target))
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def _environment(root: Path, scratch: Path) -> None:
    """Make the environment where it is packed from, with no word in it about that place and no pip."""
    place, tools, wheels = root / PREFIX.relative_to("/"), scratch / "tools", scratch / "wheels"
    _run(PYTHON, "-m", "venv", str(tools))
    _run(PYTHON, "-m", "venv", "--without-pip", str(place))
    pip = (str(tools / "bin/pip"), *PIP)
    into = (*pip, "--python", str(place / "bin/python"), "install", "--no-compile")
    _run(*into, "--require-hashes", "--requirement", str(ROOT / "requirements/runtime.txt"))
    _run(*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
    _run(*into, "--no-deps", "--no-index", *map(str, wheels.glob("*.whl")))
    for path in (place / "bin").iterdir():
        if path.name not in (*COMMANDS, "python", "python3") and not path.is_symlink():
            path.unlink()
        elif path.is_file() and not path.is_symlink():
            path.write_text(path.read_text().replace(str(root), ""))
    shutil.rmtree(place / "include")
    for found in place.rglob("direct_url.json"):
        found.unlink()
    kept = [line for line in (place / "pyvenv.cfg").read_text().splitlines() if not line.startswith("command")]
    (place / "pyvenv.cfg").write_text("\n".join([*kept, ""]))


def _files(root: Path) -> None:
    """Write what an installation would write, to where a package has it."""
    for each in copies(PREFIX, PACKAGED):
        is_page = "/man/" in str(each.to)
        content = gzip.compress(each.content, mtime=0) if is_page else each.content
        target = root / f"{str(each.to).lstrip('/')}{'.gz' if is_page else ''}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(each.mode)
    for name in COMMANDS:
        link = root / PACKAGED.bin.relative_to("/") / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(PREFIX / "bin" / name, PACKAGED.bin))
    # The command may run from where it is packed: its first line is for the place where it will be.
    python = root / PREFIX.relative_to("/") / "bin/python"
    for shell, path in PACKAGED.completions.items():
        script = _said(str(python), "-B", "-m", "supervisor.cli", "completion", shell)
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{script}\n")


def _papers(root: Path) -> None:
    """Write what Debian wants to know of every package."""
    doc = root / DOC.relative_to("/")
    doc.mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", doc / "copyright")
    now = format_datetime(datetime.now(UTC))
    entry = f"{NAME} ({__version__}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {_maintainer()}  {now}\n"
    (doc / "changelog.gz").write_bytes(gzip.compress(entry.encode(), mtime=0))
    overrides = root / "usr/share/lintian/overrides" / NAME
    overrides.parent.mkdir(parents=True)
    shutil.copy(CONTROL / "lintian-overrides", overrides)
    for path in root.rglob("*"):  # whatever this machine's umask and git's files say
        if not path.is_symlink():
            path.chmod(_mode(path, root))


def _mode(path: Path, root: Path) -> int:
    relative = path.relative_to(root)
    if path.is_dir():
        return 0o755
    if relative.parts[0] == "etc" and path.suffix == ".toml":
        return 0o640
    return 0o755 if "bin" in relative.parts else 0o644


def _control(root: Path, architecture: str) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    control = root / "DEBIAN"
    control.mkdir(mode=0o755)
    version = tuple(map(int, _said(PYTHON, "-c", "import sys; print(*sys.version_info[:2])").split()))
    text = (CONTROL / "control").read_text()
    fields = {
        "version": __version__,
        "architecture": architecture,
        "maintainer": _maintainer(),
        "size_kib": sum(path.stat().st_size for path in files) // 1024,
        "python": f"{version[0]}.{version[1]}",
        "next_python": f"{version[0]}.{version[1] + 1}",
    }
    (control / "control").write_text(text.format_map(fields))
    (control / "conffiles").write_text(
        "".join(f"/{path.relative_to(root)}\n" for path in files if _is_conf(path, root))
    )
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)  # noqa: S324
    (control / "md5sums").write_text("".join(sums))
    for name in ("postinst", "prerm", "postrm"):
        shutil.copy(CONTROL / name, control / name)
        (control / name).chmod(0o755)
    for name in ("control", "conffiles", "md5sums"):
        (control / name).chmod(0o644)


def _is_conf(path: Path, root: Path) -> bool:
    return path.relative_to(root).parts[0] == "etc"


def _maintainer() -> str:
    """Return whoever builds it, by the words that Debian's own tools take it from: it is their package."""
    name = os.environ.get("DEBFULLNAME") or NAME
    address = os.environ.get("DEBEMAIL") or os.environ.get("EMAIL") or "root@localhost.localdomain"
    return f"{re.sub(r'[<>]', '', name)} <{address}>"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip("\n")


if __name__ == "__main__":
    sys.exit(main())
