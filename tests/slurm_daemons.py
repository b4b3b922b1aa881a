"""Daemons of a Slurm cluster on one machine, each in the foreground of a process that is ours to end."""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from waiting import wait_until

HOST = "127.0.0.1"
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""Finds the daemons too; the path of an ordinary user often lacks their folders."""

_TERM_SECONDS = 30
_LOG_TAIL_CHARACTERS = 3000
_SLURM_PACKAGES = {
    "munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "setpriv": "util-linux",
}  # fmt: skip
_ACCOUNTING_PACKAGES = {
    "slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core", "mariadb-install-db": "mariadb-server-core",
}  # fmt: skip


def require_programs(*, accounting: bool) -> None:
    packages = _SLURM_PACKAGES | (_ACCOUNTING_PACKAGES if accounting else {})
    missing = [program for program in packages if shutil.which(program, path=SEARCH_PATH) is None]
    if missing:
        names = " ".join(dict.fromkeys(packages[program] for program in missing))
        raise RuntimeError(
            f"A Slurm cluster needs {', '.join(missing)}: apt-get install --no-install-recommends {names}"
        )


def free_ports(count: int) -> list[int]:
    """Below those that the kernel gives to clients: a daemon that was stopped finds its port still free."""
    first_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    # Its own randomness: test tools give that of the module random the same seed in all processes.
    candidates = random.SystemRandom().sample(range(10_000, max(first_of_clients, 20_000)), 1000)
    return list(islice(filter(_is_free, candidates), count))


class Daemon:
    """A process whose output is in ``log``; the kernel ends it together with the thread that started it."""

    def __init__(self, log: Path, environment: Mapping[str, str], *command: str | Path) -> None:
        self.log = log
        self._environment = environment
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command],
                cwd=self.log.parent, env={"PATH": SEARCH_PATH, **self._environment}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def wait_until(self, ready: Callable[[], object]) -> None:
        def ready_or_ended() -> bool:
            if not self.is_running():
                said = self.log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]
                raise RuntimeError(f"{self._command[0]} has ended:\n{said}")
            return bool(ready())

        wait_until(ready_or_ended, f"{self._command[0]}; what it says is in {self.log}")

    def wait_until_listening(self, port: int) -> None:
        self.wait_until(lambda: _is_listening(port))

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Lets it save what it wants to keep."""
        if self._process is not None:
            self.send(signal.SIGTERM)
            self._process.wait(_TERM_SECONDS)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Munge(Daemon):
    """What the daemons and commands of one cluster know each other by."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.socket = folder / "socket"
        key = folder / "key"
        super().__init__(
            log, {}, "munged", "--foreground", "--num-threads=10",
            "--force",  # it would refuse a folder below one that is closed to others
            f"--key-file={key}", f"--socket={self.socket}", f"--pid-file={folder}/pid", f"--seed-file={folder}/seed",
            f"--log-file={folder}/log",
        )  # fmt: skip
        folder.mkdir()
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)  # of one that was killed
        super().start()
        self.wait_until(self.socket.exists)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0
