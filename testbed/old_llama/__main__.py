"""Read the flags, serve, and leave as those builds do: after the loop has ended, or at once on the second signal."""

import argparse
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from testbed.old_llama.control import Control
from testbed.old_llama.faults import Fault, Faults
from testbed.old_llama.loop import Loop, Sizes
from testbed.old_llama.serving import Pool, Serving


def _parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="old-llama-server", description=__doc__, allow_abbrev=False)
    flags.add_argument("-m", "--model", default="model.gguf", help="named in answers, never read")
    flags.add_argument("--host", default=os.environ.get("LLAMA_ARG_HOST", "127.0.0.1"))
    flags.add_argument("--port", type=int, default=8080)
    flags.add_argument("-np", "--parallel", type=int, default=1)
    flags.add_argument("-c", "--ctx-size", type=int, default=4096)
    flags.add_argument("-b", "--batch-size", type=int, default=2048)
    flags.add_argument("--threads-http", type=int, help="default: two more than slots, as there")
    flags.add_argument("--slots", action=argparse.BooleanOptionalAction, default=False, help="off by default, as there")
    flags.add_argument("--metrics", action="store_true")
    flags.add_argument("--load-s", type=float, default=0.0, help='ours: how long it says "Loading model"')
    flags.add_argument("--prefill-rate", type=float, default=2000.0, help="ours: tokens per second of CPU")
    flags.add_argument("--generate-rate", type=float, default=200.0, help="ours: tokens per second of CPU")
    flags.add_argument("--fault", type=Fault, action="append", default=[], help=f"ours: {', '.join(Fault)}")
    flags.add_argument("--control-port", type=int, help="ours: faults can be switched on there")
    return flags


def main() -> None:
    """Serve until told to leave."""
    asked = _parser().parse_args()
    faults = Faults(*asked.fault)
    sizes = Sizes(
        slots=asked.parallel,
        context=asked.ctx_size,
        batch=asked.batch_size,
        prefilled_per_cpu_s=asked.prefill_rate,
        generated_per_cpu_s=asked.generate_rate,
    )
    loop = Loop(sizes, faults)
    serving = Serving(
        loop=loop,
        faults=faults,
        model=Path(asked.model).name,
        shows_slots=asked.slots,
        shows_metrics=asked.metrics,
        ready_at=time.monotonic() + asked.load_s,
    )
    _leave_on_signals(loop, faults)
    loop.start()
    pool = Pool((asked.host, asked.port), serving, threads=asked.threads_http or asked.parallel + 2)
    threading.Thread(target=pool.serve_forever, name="accept", daemon=True).start()
    if asked.control_port:
        control = Control((asked.host, asked.control_port), loop, faults)
        threading.Thread(target=control.serve_forever, name="control", daemon=True).start()
    print(f"main: server is listening on http://{asked.host}:{asked.port} - starting the main loop", flush=True)
    loop.join()


def _leave_on_signals(loop: Loop, faults: Faults) -> None:
    told = threading.Event()

    def leave(*_: Any) -> None:
        if Fault.CRASHED_INSIDE in faults:
            return
        if told.is_set():
            os._exit(1)
        told.set()
        loop.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


if __name__ == "__main__":
    main()
