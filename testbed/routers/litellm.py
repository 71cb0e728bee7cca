"""The LiteLLM proxy in an environment of its own, with the callback installed as a user does: into one folder."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import httpx

from testbed import own_environment
from testbed.cache import REPOSITORY
from testbed.clients import LOOPBACK
from testbed.own_environment import Run
from testbed.routers.base import Router

HERE: Final = REPOSITORY / "integrations" / "litellm"
CONFIG: Final = HERE / "litellm_config.yaml"
MODULES: Final = ("benchai_liveness.py", "benchai_routing.py")
CLIENT: Final = REPOSITORY / "supervisor" / "client.py"
LOCK: Final = REPOSITORY / "requirements" / "litellm.txt"
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
    says = "the LiteLLM proxy (a minute, 750 MB)"
    return own_environment.ensure("litellm", LOCK, says=says, fill=_fill) / "venv" / "bin" / "litellm"


def _fill(home: Path, run: Run) -> None:
    run(str(home / "venv" / "bin" / "pip"), "install", "--require-hashes", "-r", str(LOCK))
