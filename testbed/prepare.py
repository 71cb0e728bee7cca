"""Have everything at hand that the tests use before they begin, and say what is fetched.

Tests run side by side, each with a limit of time of its own, and the first one that needs something would wait for it.
What cannot be had is told and left to the tests, which then say so themselves: in CI that is a failure.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import docker
from docker.errors import DockerException

from testbed import compose, old_python, tiny_model, tiny_projector
from testbed.ansible import ensure_ansible
from testbed.base_image import ensure_base_image
from testbed.debian import NotToBeHad, ensure_tool
from testbed.engine import find
from testbed.image import ensure_image
from testbed.installers import ensure_installers
from testbed.operated_host import ensure_operated_image
from testbed.routers.litellm import ensure_litellm
from testbed.systemd_host import ensure_systemd_image
from testbed.terminal import ensure_tmux

Steps = Mapping[str, Callable[[], Any]]
HERE: Final[Steps] = {
    "haproxy": partial(ensure_tool, "haproxy", "haproxy"),
    "nginx": partial(ensure_tool, "nginx", "nginx-light"),
    "tmux": ensure_tmux,
    "zsh": partial(ensure_tool, "zsh", "zsh"),
    "fish": partial(ensure_tool, "fish", "fish"),
    "mandoc": partial(ensure_tool, "mandoc", "mandoc"),
    "man": partial(ensure_tool, "man", "man-db"),
    "monit": partial(ensure_tool, "monit", "monit"),
    "Nagios' plugins": partial(ensure_tool, "/usr/lib/nagios/plugins/negate", "monitoring-plugins-basic"),
    "Prometheus": partial(ensure_tool, "prometheus", "prometheus"),
    "Docker Compose": compose.compose_command,
    "Python 3.9": partial(old_python.ensure, "3.9"),
    "uv, pipx and twine": ensure_installers,
    "the tiny model": tiny_model.ensure,
    "its projector": tiny_projector.ensure,
}
IN_THE_ENGINE: Final[Mapping[str, Callable[[docker.DockerClient], Any]]] = {
    "the model servers' image": ensure_image,
    "a minimal Debian as an image": ensure_base_image,
    "systemd in an image": ensure_systemd_image,
    "a host as an operator has it": ensure_operated_image,
}
APART: Final[Steps] = {
    "LiteLLM": ensure_litellm,
    "Ansible": ensure_ansible,
}  # the longest, and they need none of the others


def main() -> int:
    """Prepare all of it; what fails is no reason to leave out the rest."""
    began = time.monotonic()
    with ThreadPoolExecutor() as apart, contextlib.ExitStack() as closing:
        waiting = [apart.submit(_take, name, step) for name, step in APART.items()]
        for name, step in HERE.items():
            _take(name, step)
        found = find()
        if found.host is not None:
            client = closing.enter_context(contextlib.closing(found.client(timeout_s=600)))
            for name, make in IN_THE_ENGINE.items():
                _take(name, partial(make, client))
        for each in waiting:
            each.result()
    print(f"prepare: done in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _take(name: str, step: Callable[[], Any]) -> None:
    began = time.monotonic()
    try:
        step()
    except (NotToBeHad, DockerException, OSError) as problem:
        print(f"prepare: no {name}: {problem}", file=sys.stderr, flush=True)
        return
    if (took_s := time.monotonic() - began) >= 1:
        print(f"prepare: {name}, {took_s:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
