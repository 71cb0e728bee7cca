"""Draw docs/states.md from the table in supervisor/core/state.py. With --check, say whether the drawing is current."""

import sys
from pathlib import Path

from supervisor.core.liveness import WORDS
from supervisor.core.state import TABLE, Phase
from supervisor.core.verdict import Verdict

TARGET = Path(__file__).resolve().parent.parent / "docs" / "states.md"
HEAD = """# States

Drawn from the table in `supervisor/core/state.py` by `scripts/draw_states.py`; a test checks that it is current.

A row is the phase a target is in, a column the verdict on it, a cell the phase that follows; `·` means that it stays.
`backoff` becomes `restarting` when its wait is over, at once the first time, and so does `failed` for its slow retry.
`draining` goes on to `restarting` or `stopping` once nobody is being served any more; at once where it hangs, fails or
is down. From `restarting` and `stopping` only the end of the engine's call leads on: to `starting`, `stopped`, or
`backoff`; or to `failed`, where a restart would not help.

"""


def draw() -> str:
    """Return the page."""
    columns = list(Verdict)
    lines = [
        f"| phase | routable, weight | shown as | {' | '.join(columns)} |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for phase in Phase:
        cells = ["·" if TABLE[phase][verdict] is phase else str(TABLE[phase][verdict]) for verdict in columns]
        weight = f"yes, {phase.weight:g}" if phase.is_routable else "no"
        lines.append(f"| **{phase}** | {weight} | {WORDS[phase]} | {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Draw, or check."""
    if "--check" in sys.argv[1:]:
        return 0 if TARGET.exists() and TARGET.read_text() == draw() else 1
    TARGET.write_text(draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
