"""What goes where on a host, and where it comes from. Reads what is to be installed, and writes nothing."""

import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "benchai-supervisor"
USER = NAME
PREFIX = Path("/opt") / NAME  # also in the unit, where another one is put in its place
RECORD = "installed.json"  # in the environment's directory, which is root's: an uninstall by root believes it
CONFIG_DIR, STATE_DIR, LOGS_DIR = Path("/etc") / NAME, Path("/var/lib") / NAME, Path("/var/log") / NAME
SETTINGS = CONFIG_DIR / "settings.toml"
RULES = Path("/etc/polkit-1/rules.d") / f"50-{NAME}.rules"
COMMANDS = ("benchai-supervisord", "benchai-supervisorctl")
_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where files belong that nobody edits: here by an administrator, there by a package."""

    lib: Path  # systemd's own folders lie in it
    units: Path
    share: Path
    bin: Path
    zsh: str  # where zsh looks for completions, below share/zsh

    @property
    def unit(self) -> Path:
        """The unit."""
        return self.units / f"{NAME}.service"

    @property
    def sysusers(self) -> Path:
        """What user there is to be."""
        return self.lib / f"sysusers.d/{NAME}.conf"

    @property
    def tmpfiles(self) -> Path:
        """Who may read the settings."""
        return self.lib / f"tmpfiles.d/{NAME}.conf"

    @property
    def completions(self) -> dict[str, Path]:
        """Where each shell looks for what completes a command; our own command says what belongs there."""
        command = COMMANDS[1]
        return {
            "bash": self.share / "bash-completion/completions" / command,
            "zsh": self.share / "zsh" / self.zsh / f"_{command}",
            "fish": self.share / "fish/vendor_completions.d" / f"{command}.fish",
        }


LOCAL = Places(
    lib=Path("/etc"),
    units=Path("/etc/systemd/system"),
    share=Path("/usr/local/share"),
    bin=Path("/usr/local/bin"),
    zsh="site-functions",
)
PACKAGED = Places(  # Debian's
    lib=Path("/usr/lib"),
    units=Path("/usr/lib/systemd/system"),
    share=Path("/usr/share"),
    bin=Path("/usr/bin"),
    zsh="vendor-completions",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One file to be written; `keeps_edits`: it is people's as much as ours, and one they edited is left."""

    to: Path
    content: bytes
    mode: int = 0o644
    keeps_edits: bool = False

    @property
    def digest(self) -> str:
        """What tells it from any other content."""
        return digest(self.content)


def digest(content: bytes) -> str:
    """Return what tells a content from any other."""
    return hashlib.sha256(content).hexdigest()


def usual_prefix(unit: Path = LOCAL.unit) -> Path:
    """Return where the environment is that we run from, if it is an installed one; or the unit's; else where one
    belongs."""
    ours = Path(sys.prefix)
    if (ours / RECORD).is_file():
        return ours
    try:
        found = re.search(rf"^ExecStart=(/\S+)/bin/{COMMANDS[0]} ", unit.read_text(), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        found = None
    return Path(found[1]) if found and (Path(found[1]) / RECORD).is_file() else PREFIX


def checkout() -> Path | None:
    """Return the copy of the repository that we run from, if we do."""
    return _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "packaging").is_dir() else None


def resource(name: str) -> Path:
    """Return where a file of packaging/ is: in the repository, or beside our modules, where the wheel has put it."""
    beside = {"settings.toml": "settings.toml", "requirements.txt": "requirements/runtime.txt"}
    root = checkout()
    return _PACKAGE / "packaging" / name if root is None else root / beside.get(name, f"packaging/{name}")


def copies(prefix: Path, places: Places = LOCAL) -> list[Copy]:
    """Return every file that belongs on the host, besides the environment in `prefix`."""
    unit = resource(f"systemd/{NAME}.service").read_text().replace(str(PREFIX), str(prefix))
    # The settings first: what follows may look at them.
    return [
        Copy(to=SETTINGS, content=resource("settings.toml").read_bytes(), mode=0o640, keeps_edits=True),
        Copy(to=places.unit, content=unit.encode()),
        Copy(to=RULES, content=resource(f"polkit/{RULES.name}").read_bytes(), keeps_edits=True),
        Copy(to=places.sysusers, content=resource(f"sysusers.d/{NAME}.conf").read_bytes()),
        Copy(to=places.tmpfiles, content=resource(f"tmpfiles.d/{NAME}.conf").read_bytes()),
        *_pages(places.share),
    ]


def _pages(share: Path) -> Iterator[Copy]:
    """Yield the man pages."""
    for page in sorted(resource("man").glob("*.[1-8]")):
        yield Copy(to=share / f"man/man{page.suffix[1:]}" / page.name, content=page.read_bytes())
