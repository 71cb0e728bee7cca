"""llama.cpp's own HTTP server (the code of `llama-server`, from the xllamacpp wheel) behind llama-server's own flags.

It stands in for the image `ghcr.io/ggml-org/llama.cpp:server` with unchanged `command:` lines, and runs as a bare
script: nothing but the standard library and xllamacpp may be imported here.

Where it differs from the real program, on purpose: one CPU thread and one slot unless told otherwise, a RAM prompt
cache of 64 MiB, no GPU (`-ngl` and the like are accepted and change nothing), no memory-fitting dry load.
"""

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, NoReturn

INFERENCE_THREAD: Final = "llama-inference"  # freeze.py looks for it; the kernel allows 15 characters
PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, ctypes.c_ulong(-1)

# Flags that make no difference on a CPU with a tiny model.
IGNORED_SWITCHES: Final[tuple[tuple[str, ...], ...]] = (
    ("--mlock",),
    ("--no-mmap",),
    ("--no-webui", "--no-ui"),
    ("-cb", "--cont-batching"),
    ("--jinja",),  # on by default since 2026
)
IGNORED_VALUES: Final[tuple[tuple[str, ...], ...]] = (
    ("-ngl", "--gpu-layers", "--n-gpu-layers"),
    ("-fa", "--flash-attn"),
    ("-dev", "--device"),
)


class _Flags(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave as llama-server does: status 1 (argparse would say 2) and the reason in the log."""
        print(f"error: {message}", file=sys.stderr, flush=True)
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    flags = _Flags(prog="llama-server", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)

    def value(*names: str, env: str, default: Any = None, kind: Any = str, **more: Any) -> None:
        # argparse converts string defaults too, so a bad value in the environment is refused like a bad flag.
        flags.add_argument(*names, type=kind, default=os.environ.get(env, default), help=f"(env: {env})", **more)

    value("-m", "--model", env="LLAMA_ARG_MODEL")
    value("--host", env="LLAMA_ARG_HOST", default="127.0.0.1")
    value("--port", env="LLAMA_ARG_PORT", default=8080, kind=int)
    value("-np", "--parallel", env="LLAMA_ARG_N_PARALLEL", default=1, kind=int)
    value("-c", "--ctx-size", env="LLAMA_ARG_CTX_SIZE", default=0, kind=int)
    value("-a", "--alias", env="LLAMA_ARG_ALIAS")
    value("--api-key", env="LLAMA_API_KEY")
    value("-mm", "--mmproj", env="LLAMA_ARG_MMPROJ", kind=Path)
    value("-t", "--threads", env="LLAMA_ARG_THREADS", default=1, kind=int)
    value("--threads-http", env="LLAMA_ARG_THREADS_HTTP", default=-1, kind=int)
    value("-b", "--batch-size", env="LLAMA_ARG_BATCH", default=2048, kind=int)
    value("-ub", "--ubatch-size", env="LLAMA_ARG_UBATCH", default=512, kind=int)
    value("-cram", "--cache-ram", env="LLAMA_ARG_CACHE_RAM", default=64, kind=int)
    value("--sleep-idle-seconds", env="LLAMA_ARG_SLEEP_IDLE_SECONDS", default=-1, kind=int)
    value("--sse-ping-interval", env="LLAMA_ARG_SSE_PING_INTERVAL", default=30, kind=int)
    value("--chat-template", env="LLAMA_ARG_CHAT_TEMPLATE")
    value("--pooling", env="LLAMA_ARG_POOLING", choices=("none", "mean", "cls", "last", "rank"))
    flags.add_argument("--metrics", action="store_true", default=_is_on("LLAMA_ARG_ENDPOINT_METRICS"))
    flags.add_argument("--embedding", "--embeddings", action="store_true", default=_is_on("LLAMA_ARG_EMBEDDINGS"))
    flags.add_argument("--slots", action=argparse.BooleanOptionalAction, default=True)
    flags.add_argument("--warmup", action=argparse.BooleanOptionalAction, default=True)
    flags.add_argument("--obey-sigterm", action="store_true", help="ours: leave on SIGTERM even when frozen")
    for switch in IGNORED_SWITCHES:
        flags.add_argument(*switch, action="store_true", help=argparse.SUPPRESS)
    for valued in IGNORED_VALUES:
        flags.add_argument(*valued, help=argparse.SUPPRESS)
    return flags


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "") in {"1", "true", "on", "enabled"}


def _params(asked: argparse.Namespace) -> Any:
    """Translate the flags into xllamacpp's parameters."""
    import xllamacpp  # late: it takes 0.1 s and a wrong flag should be told at once

    params = xllamacpp.CommonParams()
    params.model.path = asked.model
    params.hostnames, params.port = asked.host.split(","), asked.port
    params.n_parallel, params.n_ctx = asked.parallel, asked.ctx_size
    params.n_batch, params.n_ubatch = asked.batch_size, asked.ubatch_size
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked.threads
    params.n_threads_http = asked.threads_http
    params.cache_ram_mib, params.sleep_idle_seconds = asked.cache_ram, asked.sleep_idle_seconds
    params.endpoint_metrics, params.endpoint_slots = asked.metrics, asked.slots
    params.warmup, params.fit_params = asked.warmup, False
    params.sse_ping_interval, params.embedding = asked.sse_ping_interval, asked.embedding
    if asked.pooling:  # the model decides otherwise, and ours has none, which OpenAI's embeddings cannot do without
        params.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{asked.pooling.upper()}"]
    if asked.alias:
        params.model_alias = set(asked.alias.split(","))
    if asked.api_key:
        params.api_keys = asked.api_key.split(",")
    if asked.chat_template:
        params.chat_template = asked.chat_template
    if asked.mmproj:
        params.mmproj.path = str(asked.mmproj)
    return params


def _threads() -> list[str]:
    return os.listdir("/proc/self/task")  # noqa: PTH208 - in order of creation, which a Path would not promise either


def _name_inference_thread(before: list[str]) -> None:
    """Name the thread that runs the inference loop: the first one that making a server starts."""
    inference = next(tid for tid in _threads() if tid not in before)
    Path(f"/proc/self/task/{inference}/comm").write_text(INFERENCE_THREAD)


def _serve_until_told(server: list[Any], *, obey: bool) -> None:
    """Serve until SIGTERM or SIGINT, then do as llama-server does: wait for the inference loop to end.

    A frozen loop never ends, so a frozen server stays, as the real one; its HTTP side goes on answering. `server`
    holds the only reference: dropping it stops the loop and waits for it inside C++, holding the interpreter's lock.
    Hence the second signal, which llama-server obeys at once, cannot be handled in Python.
    """
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    told.wait()
    if obey:
        os._exit(0)
    libc = ctypes.CDLL(None)
    leave_now = libc["_exit"]
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    for number in (signal.SIGTERM, signal.SIGINT):
        libc.signal(number, ctypes.cast(leave_now, ctypes.c_void_p))  # the status is then the signal's number
    server.clear()


def main() -> None:
    """Load the model, serve, leave: 0 after a signal, 1 where the model or a flag is bad."""
    # As in the real program no handler stands before the model is in memory: until then SIGINT and SIGTERM kill, and
    # the first process of a container, which the kernel spares without a handler, ignores them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asked = _parser().parse_args()
    if not asked.model:
        _parser().error("no model: give one with -m FILE")
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)  # lets freeze.py work without root
    params, before, started = _params(asked), _threads(), time.monotonic()
    import xllamacpp

    try:
        server = [xllamacpp.Server(params)]
    except RuntimeError as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        raise SystemExit(1) from problem
    _name_inference_thread(before)
    took_s = time.monotonic() - started
    print(f"main: server is listening on {server[0].listening_address} after {took_s:.2f} s", flush=True)
    _serve_until_told(server, obey=asked.obey_sigterm)


if __name__ == "__main__":
    main()
