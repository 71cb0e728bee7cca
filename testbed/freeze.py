"""Stop one thread of a running model server, its inference loop: `/health` still says ok and chat never answers.

Runs as a bare script, in containers too: nothing but the standard library may be imported here. The thread is held
with ptrace, so it goes on untouched when this process ends, however it ends.

Prints `frozen tid N` once it stands still and holds it until SIGTERM, SIGINT, `--seconds`, or the end of standard
input with `--hold-stdin`. The process must be ours, or we root or CAP_SYS_PTRACE; a container's server is reached
from a second container: `docker run --pid container:NAME --network container:NAME --cap-add SYS_PTRACE ...`.
"""

import argparse
import ctypes
import json
import os
import select
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Final

INFERENCE_THREAD: Final = "llama-inference"  # llama_server.py names it so
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WAIT_ALL_THREADS: Final = 0x40000000  # __WALL: threads that are not our children
BUSY_WINDOW_S, BUSY_SHARE = 0.25, 0.03  # a server held at 5 % of a core is busy too; polls alone take under 1 %
FIND_BUSY_S: Final = 60.0
ASK_TIMES: Final = 8  # one thread may still answer while the next one waits for a lock of the frozen one's


class Freezer:
    """Holds one thread still between `stop` and `release`."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._libc.ptrace.restype = ctypes.c_long

    def stop(self) -> None:
        """Stop the thread where it is and return once it stands."""
        self._ptrace(PTRACE_SEIZE)
        self._ptrace(PTRACE_INTERRUPT)
        os.waitpid(self.tid, WAIT_ALL_THREADS)

    def release(self) -> None:
        """Let the thread go on."""
        self._ptrace(PTRACE_DETACH)

    def is_gone(self) -> bool:
        """Reap the thread if its process was killed: until then Docker would see a zombie and wait for it."""
        tid, status = os.waitpid(self.tid, WAIT_ALL_THREADS | os.WNOHANG)
        return tid != 0 and not os.WIFSTOPPED(status)

    def _ptrace(self, request: int) -> None:
        if self._libc.ptrace(request, self.tid, None, None) == -1:
            number = ctypes.get_errno()
            raise OSError(number, f"ptrace {request:#x} of thread {self.tid}: {os.strerror(number)}")


def threads(pid: int) -> list[int]:
    """Return the thread ids of `pid`."""
    return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]


def burned_s(pid: int, tid: int) -> float:
    """Return the CPU seconds a thread has used; a thread that is gone has used none."""
    try:
        fields = Path(f"/proc/{pid}/task/{tid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def named_thread(pid: int) -> int | None:
    """Return the thread that calls itself the inference loop, if one does."""
    for tid in threads(pid):
        if Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip() == INFERENCE_THREAD:
            return tid
    return None


def hottest_thread(pid: int, server: "Server") -> int:
    """Ask for tokens and return the thread that burned most CPU meanwhile."""
    before = {tid: burned_s(pid, tid) for tid in threads(pid)}
    server.ask(max_tokens=500)
    return max(before, key=lambda tid: burned_s(pid, tid) - before[tid])


class Server:
    """The little we ask of a model server over HTTP."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {api_key}"} if api_key else {}
        )

    def ask(self, *, max_tokens: int) -> None:
        """Have an answer generated and read it to its end."""
        body = {"messages": [{"role": "user", "content": "find the thread"}], "max_tokens": max_tokens}
        self._call("/v1/chat/completions", json.dumps(body).encode(), timeout_s=3600)

    def shows_work(self) -> bool:
        """Say whether `/slots` shows a busy slot, whichever of the server's HTTP threads is asked."""
        return all(self._has_busy_slot() for _ in range(ASK_TIMES))

    def _has_busy_slot(self) -> bool:
        try:
            slots = json.loads(self._call("/slots", None, timeout_s=0.5))
        except OSError:
            return False
        return any(slot.get("is_processing") for slot in slots)

    def _call(self, path: str, body: bytes | None, *, timeout_s: float) -> bytes:
        request = urllib.request.Request(self.url + path, body, self._headers)  # noqa: S310 - a URL we were given
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:  # noqa: S310
            return bytes(reply.read())


def keep_asking(server: Server) -> None:
    """Ask for a long answer in the background, and again when it has ended, for as long as this process lives."""

    def ask() -> None:
        while True:
            try:
                server.ask(max_tokens=100_000)
            except OSError:
                time.sleep(0.05)

    threading.Thread(target=ask, daemon=True).start()


def stop_while_busy(pid: int, freezer: Freezer, server: Server | None) -> None:
    """Stop the thread in the middle of an answer.

    Now and then it stands still while holding a lock that the HTTP side needs, or just after an answer's end; that is
    another fault than the one asked for, so it is let go and tried again.
    """
    deadline = time.monotonic() + FIND_BUSY_S
    while time.monotonic() < deadline:
        before = burned_s(pid, freezer.tid)
        time.sleep(BUSY_WINDOW_S)
        if burned_s(pid, freezer.tid) - before < BUSY_SHARE * BUSY_WINDOW_S:
            continue
        freezer.stop()
        if server is None or server.shows_work():
            return
        freezer.release()
    raise SystemExit(f"thread {freezer.tid} of {pid} did no work for {FIND_BUSY_S:.0f} s")


def hold(freezer: Freezer, *, seconds: float, until_stdin_ends: bool) -> None:
    """Keep the thread still until told otherwise, then release it."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    print(f"frozen tid {freezer.tid}", flush=True)
    deadline = time.monotonic() + seconds
    while not told.is_set() and time.monotonic() < deadline and not (until_stdin_ends and _stdin_ended()):
        if freezer.is_gone():
            print(f"tid {freezer.tid} is gone", flush=True)
            return
        told.wait(0.02)
    try:
        freezer.release()
        print(f"released tid {freezer.tid}", flush=True)
    except ProcessLookupError:
        print(f"tid {freezer.tid} is gone", flush=True)


def _stdin_ended() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


def main() -> None:
    """Find the thread, stop it, hold it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pid", type=int)
    parser.add_argument("--tid", type=int, help="this thread, instead of finding the inference loop")
    parser.add_argument("--url", help="the server's own address: finds the loop of any server, and checks --when-busy")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--when-busy", action="store_true", help="wait until an answer is being generated")
    parser.add_argument("--mid-answer", action="store_true", help="ask for an answer ourselves, stop in its middle")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--hold-stdin", action="store_true", help="let go when standard input ends")
    asked = parser.parse_args()
    server = Server(asked.url, asked.api_key) if asked.url else None
    tid = asked.tid or named_thread(asked.pid) or (hottest_thread(asked.pid, server) if server else None)
    if tid is None:
        parser.error("no thread calls itself the inference loop: give --url or --tid")
    if asked.mid_answer and server is None:
        parser.error("--mid-answer needs --url")
    freezer = Freezer(tid)
    if asked.mid_answer and server:
        keep_asking(server)
    if asked.mid_answer or asked.when_busy:
        stop_while_busy(asked.pid, freezer, server)
    else:
        freezer.stop()
    hold(freezer, seconds=asked.seconds, until_stdin_ends=asked.hold_stdin)


if __name__ == "__main__":
    main()
