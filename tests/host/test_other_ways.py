"""The other ways onto a host: a Debian package that is built, installed, removed and purged, and a wheel."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from testbed.clients import wait_until
from testbed.operated_host import PYTHON, TREE, OperatedHost, operated_host
from testbed.systemd_host import obstacle
from tests.cannot import cannot
from tests.host.page import commands

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]
OURS = "benchai-supervisor"
SETTINGS = Path("/etc/benchai-supervisor/settings.toml")
RULES = "/etc/polkit-1/rules.d/50-benchai-supervisor.rules"
WATCHED = '[[backends]]\nname = "general"\nurl = "http://127.0.0.1:8091"\nengine = "none"\nmodels = ["general"]\n'


@pytest.fixture(scope="module")
def host(engine: docker.DockerClient) -> Iterator[OperatedHost]:
    """A host with one model server up."""
    if reason := obstacle():
        cannot(f"no systemd: {reason}")
    with operated_host(engine) as host:
        host.systemctl("start", "general")
        yield host


def said(host: OperatedHost) -> str:
    return host.show(OURS, "StatusText")["StatusText"]


def traces(host: OperatedHost) -> set[str]:
    """Return what there is of ours on the host, besides what it is built from and what dpkg remembers."""
    elsewhere = (f"{TREE}*", "/wheels/*", "/root/*", "/var/lib/dpkg/info/*")
    left_out = " ".join(f"-not -path '{path}'" for path in elsewhere)
    return set(host.shell(f"find / -xdev -name '*{OURS}*' {left_out}").stdout.split())


def test_the_debian_package_is_built_installed_upgraded_removed_and_purged(host: OperatedHost) -> None:
    build, install = commands("docs/install.md", "## As a Debian package")[0].splitlines()
    host.shell(f"HOME=/nonexistent {build}")
    host.shell(install)
    host.at(SETTINGS).write_text(WATCHED)
    host.shell(f"systemctl enable --now {OURS}")
    wait_until(lambda: said(host) == "1/1 ready", "all is ready")
    pid = host.show(OURS, "MainPID")

    refused = host.shell("make install", check=False)
    host.shell(f"{install} --reinstall")
    wait_until(lambda: said(host) == "1/1 ready" and host.show(OURS, "MainPID") != pid, "it is up anew")
    kept = host.at(SETTINGS).read_text()
    host.shell("systemd-analyze security --no-pager --threshold=15 benchai-supervisor")
    host.shell(f"apt-get remove -y {OURS}")
    left = traces(host)
    host.shell(f"apt-get purge -y {OURS}")

    assert "the Debian package is installed" in refused.stderr
    assert kept == WATCHED
    assert left == {RULES, *(f"/{place}/{OURS}" for place in ("etc", "var/lib", "var/log"))}
    assert traces(host) == set()
    assert OURS not in host.at(Path("/etc/passwd")).read_text()
    assert host.show("general", "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_a_wheel_in_somebodys_own_environment_installs_the_service_from_itself(host: OperatedHost) -> None:
    own = Path(PYTHON).parent  # it has what we need already
    host.shell(f"{own}/pip wheel -q --no-deps -w /root/dist . && {own}/pip install -q --no-deps /root/dist/*.whl")

    words = host.shell(f"{own}/benchai-supervisorctl install --systemd", cwd=Path("/")).stdout
    host.shell(f"{own}/pip uninstall -q -y {OURS}")
    host.at(SETTINGS).write_text(WATCHED)
    host.shell(f"systemctl start {OURS}")
    wait_until(lambda: said(host) == "1/1 ready", "all is ready")
    twice = host.shell("benchai-supervisorctl install --systemd", cwd=Path("/")).stdout
    wait_until(lambda: said(host) == "1/1 ready", "all is ready again")
    host.shell("benchai-supervisorctl uninstall --purge", cwd=Path("/"))

    assert "pip    /root/dist/benchai_supervisor-" in words
    assert "keep   /opt/benchai-supervisor (the environment that runs this, benchai-supervisor " in twice
    assert traces(host) == set()
