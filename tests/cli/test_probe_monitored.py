"""`probe --url` under what runs such checks: monit, and `negate` of Nagios' own plugins."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.clients import wait_until
from testbed.debian import NotToBeHad, ensure_tool
from testbed.servers import ProcessServers
from tests.cannot import cannot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
NEGATE = "/usr/lib/nagios/plugins/negate"
CTL = Path(sys.executable).with_name("benchai-supervisorctl")


@pytest.fixture
def url(process_servers: ProcessServers, model: Path) -> str:
    return process_servers.run("general", model, "-np", "1")


@pytest.fixture
def negate() -> str:
    try:
        ensure_tool(NEGATE, "monitoring-plugins-basic")
    except NotToBeHad as why:
        cannot(f"no plugins of Nagios: {why}")
    return NEGATE


@pytest.fixture
def monit() -> str:
    try:
        ensure_tool("monit", "monit")
    except NotToBeHad as why:
        cannot(f"no monit: {why}")
    return str(shutil.which("monit"))


def test_nagios_own_runner_reads_its_status_and_passes_on_its_line(
    negate: str, process_servers: ProcessServers, url: str
) -> None:
    def negated(*flags: str) -> tuple[int, str]:
        plugin = [str(CTL), "probe", "--nagios", "-t", "6", "--url", url]
        done = subprocess.run([negate, "-t", "30", "-s", *flags, *plugin], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    well = negated("-o", "CRITICAL")
    with process_servers.freeze("general"):
        hung = negated("-c", "OK")

    assert (well[0], hung[0]) == (2, 0)
    assert well[1].startswith("BENCHAI CRITICAL - ready, first token ")
    assert hung[1].startswith("BENCHAI OK - hung: ")
    assert all(" | time=" in told for _, told in (well, hung))


@contextlib.contextmanager
def monitored(monit: str, folder: Path, url: str) -> Iterator[Path]:
    """Have monit run the probe every second; what it says of it comes into a file."""
    settings, log = folder / "monitrc", folder / "monit.log"
    settings.write_text(
        f"set daemon 1\nset logfile {log}\nset pidfile {folder}/pid\nset idfile {folder}/id\n"
        f"set statefile {folder}/state\n"
        f'check program general with path "{CTL} probe -t 6 --url {url}" with timeout 15 seconds\n'
        f'  if status != 0 for 1 cycles then exec "/usr/bin/touch {folder}/alarm"'
        f' else if succeeded then exec "/usr/bin/touch {folder}/over"\n'
    )
    settings.chmod(0o600)
    daemon = subprocess.Popen([monit, "-I", "-c", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: log.exists() and "started" in log.read_text(), "monit runs")
        yield folder
    finally:
        daemon.terminate()
        daemon.wait(20.0)


def test_monit_raises_an_alarm_for_one_that_hangs_and_takes_it_back(
    monit: str, process_servers: ProcessServers, url: str, tmp_path: Path
) -> None:
    with monitored(monit, tmp_path, url) as folder:
        with process_servers.freeze("general"):
            wait_until((folder / "alarm").exists, "monit raises an alarm", within_s=60.0)
        wait_until((folder / "over").exists, "monit takes it back", within_s=60.0)
        told = (folder / "monit.log").read_text()

    assert f"{url}: ERROR (hung: " in told
