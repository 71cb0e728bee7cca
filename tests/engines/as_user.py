"""Act upon units as another user: `python -m tests.engines.as_user PID UID VERB UNIT`, with what came of it as JSON.

PID is the first process of the host that systemd runs on. Its bus is opened by a relative path: once we are that user,
we may not follow the way there any more.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from supervisor.engines.systemd import SystemdEngine
from supervisor.errors import SupervisorError
from testbed.systemd_host import BUS


async def act(verb: str, unit: str) -> dict[str, str]:
    """Do it, and return what came of it."""
    engine = SystemdEngine(bus=f"unix:path={Path(BUS).name}", timeout_s=10.0)
    try:
        match verb:
            case "start":
                await engine.start(unit)
            case "stop":
                await engine.stop(unit, grace_s=0)
            case "restart":
                await engine.restart(unit, grace_s=0)
            case _:
                return {"life": str((await engine.inspect(unit)).life)}
    except SupervisorError as error:
        return {"error": type(error).__name__, "words": str(error)}
    finally:
        await engine.close()
    return {}


def main() -> None:
    """Become that user, and do it."""
    pid, uid, verb, unit = sys.argv[1:]
    os.chdir(f"/proc/{pid}/root/{Path(BUS).parent}")
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
    print(json.dumps(asyncio.run(act(verb, unit))))  # noqa: T201


if __name__ == "__main__":
    main()
