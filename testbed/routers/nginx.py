"""nginx, as Debian packages it, on the configuration that we ship, and the script that keeps its upstreams."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from integrations.nginx.benchai_nginx import main
from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK
from testbed.debian import ensure_tool
from testbed.routers.base import STOP_WITHIN_S, Router

HERE: Final = REPOSITORY / "integrations" / "nginx"
MAIN: Final = """daemon off;
error_log stderr;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/benchai.conf;
}}
"""


class NginxRouter(Router):
    """`integrations/nginx`: its port and its paths differ, nothing else. `auto` is who stands behind that alias."""

    kind = "nginx"
    _follower: subprocess.Popen[bytes] | None = None

    @property
    def include(self) -> Path:
        """The file that the script writes."""
        return self.folder / "benchai-upstreams.conf"

    @property
    def nginx(self) -> list[str]:
        """The program with its files."""
        return ["nginx", "-c", str(self.folder / "nginx.conf")]

    def command(self) -> Sequence[str]:
        """Write its files and return its command line; Debian's package is installed where it is missing."""
        ensure_tool("nginx", "nginx-light")
        text = (HERE / "benchai.conf").read_text()
        text = text.replace("/etc/nginx/", f"{self.folder}/").replace(f"{LOOPBACK}:8085;", f"{LOOPBACK}:{self.port};")
        (self.folder / "benchai.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=self.folder))
        main(["--once", *self._arguments])
        return self.nginx

    def start(self) -> None:
        """Run nginx, then the script."""
        super().start()
        nginx = " ".join(self.nginx)
        with (self.folder / "follower.log").open("ab") as log:
            self._follower = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "integrations.nginx.benchai_nginx", *self._arguments),
                    *("--test", f"{nginx} -t", "--reload", f"{nginx} -s reload"),
                ],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """End both."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.terminate()
            follower.wait(STOP_WITHIN_S)
        super().stop()

    def is_answering(self) -> bool:
        """Say whether it takes requests."""
        return httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).is_success

    @property
    def _arguments(self) -> list[str]:
        liveness, auto = str(self.served.liveness_file), ",".join(self.served.models.get("auto", ()))
        return ["--liveness", liveness, "--include", str(self.include), "--auto", auto]
