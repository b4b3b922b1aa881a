"""Child processes that end when they must: each is a process group of its own, with a time limit."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from audioctl.errors import ConfigurationError
from audioctl.failpoints import failpoint

_GRACE_SECONDS = 2.0
"""Between SIGTERM, on which rsync removes its temporary file, and SIGKILL."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a process ended. ``stopped`` and ``timed_out`` say that we ended it."""

    returncode: int
    stdout: bytes = b""
    stderr: str = ""
    timed_out: bool = False
    stopped: bool = False


class Processes:
    """Runs programs for many threads, with the variables of ``environment``.

    ``stop`` ends those that run and keeps others from starting.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Messages are matched below and shown to people: one language, plain escapes. And there is nobody to ask.
        self._environment = {**environment, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
        self._changed = threading.Condition()
        self._stopped = False

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def run(self, command: Sequence[str], *, timeout_seconds: float) -> Finished:
        """Runs ``command`` to its end, without a terminal and without input, so that nothing can ask a question.

        Its output goes to files, not pipes: a connection that ssh leaves behind in the background would hold a pipe
        open. Raises OSError when the program cannot be started.
        """
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            with self._changed:
                if self._stopped:
                    return Finished(-signal.SIGTERM, stopped=True)
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                    env=self._environment,
                )
            failpoint("upload.running")
            timed_out, stopped = self._wait(process, timeout_seconds)
            stdout.seek(0)
            stderr.seek(0)
            return Finished(
                process.returncode, stdout.read(), stderr.read().decode(errors="replace"), timed_out, stopped
            )

    def _wait(self, process: subprocess.Popen[bytes], timeout_seconds: float) -> tuple[bool, bool]:
        """Waits until it ends, the time is up, or ``stop``: whether it was ended for one of the latter two."""
        waiter = threading.Thread(target=self._reap, args=(process,), daemon=True)
        waiter.start()
        with self._changed:
            in_time = self._changed.wait_for(lambda: process.returncode is not None or self._stopped, timeout_seconds)
            stopped = in_time and process.returncode is None
        if not in_time or stopped:
            for ending in (signal.SIGTERM, signal.SIGKILL):
                # The second goes to what is left of the group, whether or not its leader has gone.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, ending)
                waiter.join(_GRACE_SECONDS)
        waiter.join()
        return not in_time, stopped

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        with self._changed:
            self._changed.notify_all()


def require_program(program: str, package: str) -> None:
    """Raises ConfigurationError, with the package to install, when ``program`` is not on PATH."""
    if shutil.which(program) is None:
        raise ConfigurationError(
            f"There is no {program} on this machine, and uploads need it.",
            hint=f"Install the package {package} (apt install {package}, dnf install {package}) or load its module.",
        )
