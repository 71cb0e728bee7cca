"""A real daemon over two backends: a real model server, and one where nobody listens."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from testbed.clients import free_port
from testbed.servers import ProcessServers
from testbed.supervisord import Supervisord

TOKEN = "a-Token-that_nobody.may~see"  # noqa: S105 - of nothing
ALIAS = "org/model:7b"


@contextlib.contextmanager
def running(folder: Path, model: Path, *, log_level: str = "INFO") -> Iterator[Supervisord]:
    """Run it until the end of the block, once both have been judged."""
    with ProcessServers(folder) as servers, Supervisord(folder, log_level=log_level) as daemon:
        backends = {"planner": servers.run("planner", model), "code": f"http://127.0.0.1:{free_port()}"}
        tables = [
            f'[[backends]]\nname = "{name}"\nurl = "{url}"\nmodels = ["{name}", "{ALIAS}"]\nengine = "none"\n'
            for name, url in backends.items()
        ]
        # The last table is of the one that is never there.
        daemon.write_settings(f'token = "{TOKEN}"\n{"".join(tables)}[backends.policy]\nstartup_limit_s = 1.0\n')
        daemon.start()
        daemon.wait_answers()
        daemon.wait_target("planner", verdict="ready")
        daemon.wait_target("code", phase="failed")
        yield daemon
