"""The LiteLLM proxy in an environment of its own, with the callback installed as a user does: into one folder."""

import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import httpx

from testbed.cache import REPOSITORY, cache_dir
from testbed.clients import LOOPBACK
from testbed.debian import run_logged
from testbed.routers.base import Router

HERE: Final = REPOSITORY / "integrations" / "litellm"
CONFIG: Final = HERE / "litellm_config.yaml"
MODULES: Final = ("benchai_liveness.py", "benchai_routing.py")
CLIENT: Final = REPOSITORY / "supervisor" / "client.py"
LOCK: Final = REPOSITORY / "requirements" / "litellm.txt"
INSTALL_TIMEOUT_S: Final = 900
MASTER_KEY: Final = "sk-testbed"


class LiteLLMRouter(Router):
    """`litellm --config …` on the ready configuration, with its `model_list` replaced."""

    kind = "litellm"
    client_headers: ClassVar[Mapping[str, str]] = {"Authorization": f"Bearer {MASTER_KEY}"}
    starts_within_s: ClassVar[float] = 90.0  # 6 s on two idle cores, most of it importing
    hears_within_s: ClassVar[float] = 0.2

    def command(self) -> Sequence[str]:
        """Install it into `folder`, and return its command line."""
        program = ensure_litellm()
        install(self.folder)
        head, _, _ = CONFIG.read_text().partition("\nmodel_list:")
        config = self.folder / "config.yaml"
        config.write_text(f"{head}\nmodel_list: {json.dumps(self._model_list())}\n")  # JSON is YAML
        return [str(program), "--config", str(config), "--host", LOOPBACK, "--port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        """Say where the liveness is, and keep it from asking the internet for prices."""
        return {
            "BENCHAI_LIVENESS": str(self.served.liveness_file),
            "LITELLM_MASTER_KEY": MASTER_KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }

    def is_answering(self) -> bool:
        """Say whether it takes requests."""
        return httpx.get(f"{self.url}/health/liveliness", timeout=2.0, trust_env=False).is_success

    def _model_list(self) -> list[dict[str, object]]:
        return [
            {
                "model_name": alias,
                "litellm_params": {
                    "model": f"openai/{alias}",
                    "api_base": f"{self.served.backends[name]}/v1",
                    "api_key": "none",
                },
            }
            for alias, names in self.served.models.items()
            for name in names
        ]


def install(folder: Path) -> None:
    """Put the callback into a proxy's folder, by the commands of docs/routers/litellm.md."""
    for name in MODULES:
        shutil.copy(HERE / name, folder / name)
    shutil.copy(CONFIG, folder / CONFIG.name)
    shutil.copy(CLIENT, folder / "benchai_liveness_client.py")


def ensure_litellm() -> Path:
    """Install what requirements/litellm.txt pins, unless it is there, and return the program.

    Raises:
        NotToBeHad: it could not be installed.
    """
    home = cache_dir("litellm")
    venv, mark = home / "venv", home / "installed"
    wanted = f"{venv} {sys.version} {hashlib.sha256(LOCK.read_bytes()).hexdigest()}"
    with (home / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of two that need it, the second finds the first's
        if not mark.exists() or mark.read_text() != wanted:
            print(f"testbed: installing the LiteLLM proxy into {venv}: a minute, 750 MB", flush=True)
            mark.unlink(missing_ok=True)
            _run(sys.executable, "-m", "venv", "--clear", str(venv))
            _run(str(venv / "bin" / "pip"), "install", "--require-hashes", "-r", str(LOCK))
            mark.write_text(wanted)
    return venv / "bin" / "litellm"


def _run(*command: str) -> None:
    run_logged(command, log="litellm-install.log", timeout_s=INSTALL_TIMEOUT_S)
