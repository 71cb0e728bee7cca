"""Units of systemd as they are written, drop-ins included: whoever may not ask systemd may read these."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
MOST_BYTES = 64 * 1024
OUR_UNIT = "benchai-supervisor.service"
COMMENTS = ("#", ";")
SERVICE, DROP_INS = ".service", ".service.d"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a unit's file."""

    unit: str
    path: Path
    key: str
    value: str


def settings(root: Path = Path("/")) -> Iterator[Setting]:
    """Yield every line of every service there is a file of, each file once."""
    seen: set[Path] = set()
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*")):
            files = sorted(path.glob("*.conf")) if path.name.endswith(DROP_INS) else [path]
            unit = path.name.removesuffix(".d")
            for file in files:
                real = file.resolve()
                if unit.endswith(SERVICE) and real not in seen and real.is_file():
                    seen.add(real)
                    yield from (Setting(unit, file, key, value) for key, value in _lines(real))


def of_unit(unit: str, root: Path = Path("/")) -> dict[str, str]:
    """Return a unit's settings, the last of each key: what is written in it and in its drop-ins."""
    found = [each for each in settings(root) if each.unit == unit]
    plain = [each for each in found if each.path.name == unit][:1]
    path = plain[0].path if plain else None
    lines = [each for each in found if each.path.name != unit or each.path == path]
    # Drop-ins are read after the file itself, wherever they lie.
    return {each.key: each.value for each in sorted(lines, key=lambda each: each.path.name != unit)}


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(errors="replace") as file:
            text = file.read(MOST_BYTES)
    except OSError:
        return
    for line in text.replace("\\\n", " ").splitlines():
        key, mark, value = line.partition("=")
        if mark and not line.startswith(COMMENTS):
            yield key.strip(), value.strip()
