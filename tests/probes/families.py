"""Real families of processes for the kernel to tell of; they all end with the test."""

import contextlib
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

PARENT = """
import subprocess, sys
code = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
middle = f"import os, subprocess, sys; print(os.getpid(), flush=True); subprocess.run([sys.executable, '-c', {code!r}])"
subprocess.run([sys.executable, "-c", middle])
"""
# A thread that has forked this way sleeps until its child runs a program, and this one never does. No signal but the
# deadly one reaches it, as if it waited for a disk.
STUCK = """
import ctypes, threading, time
libc = ctypes.PyDLL(None)
threading.Thread(target=time.sleep, args=(3600,)).start()
print("up", flush=True)
libc.vfork()
ctypes.CDLL(None).pause()
"""


class Families:
    """Starts them, each as a group of its own."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def of_three(self) -> tuple[int, int, int]:
        """Return a process, its child and its grandchild; all of them sleep."""
        process = self._run(PARENT)
        return process.pid, self._number(process), self._number(process)

    def with_a_thread_that_no_signal_reaches(self) -> int:
        """Return a process one of whose threads will soon be in uninterruptible sleep."""
        process = self._run(STUCK)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process.pid

    def of_one_that_has_ended(self) -> int:
        """Return a process that has ended and that we have not waited for."""
        process = self._run("pass")
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return process.pid

    def _run(self, code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._processes.append(process)
        return process

    @staticmethod
    def _number(process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        return int(process.stdout.readline())
