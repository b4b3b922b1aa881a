"""A real sshd and a real rsync daemon on loopback: own keys, own configuration, a free port, all below one folder.

Plain classes, for tests and benchmarks alike; what they start ends with ``stop`` or their ``with`` block.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

HOST = "127.0.0.1"
_START_SECONDS = 20
_PRIVILEGE_SEPARATION_FOLDER = Path("/run/sshd")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


class _Server(ABC):
    """A server process in a group of its own; it listens on ``port`` once ``start`` returns."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]: ...

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command()[0]} did not start:\n{self.log.read_text()}")
            try:
                socket.create_connection((HOST, self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Ends the server and the sessions that it still serves."""
        if self._process is None:
            return
        for pid in [*_descendants(self._process.pid), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """From here on the server answers nothing, as on a dead network; connections stay open."""
        assert self._process is not None
        for pid in [self._process.pid, *_descendants(self._process.pid)]:
            os.kill(pid, signal.SIGSTOP)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Sshd(_Server):
    """Lets the current user in with ``client_key``; ``environment`` is added to that of the sessions.

    Their home is an empty folder: start files of a shell may take longer than all the rest of a session.
    """

    def __init__(self, folder: Path, *, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(folder, free_port())
        self.client_key = make_key(folder / "client_key")
        self._host_key = make_key(folder / "host_key")
        self.known_hosts = folder / "known_hosts"
        self.trust_host_key(self._host_key)
        (folder / "home").mkdir()
        session_environment = {"HOME": folder / "home", **environment}
        self._configuration = folder / "sshd_config"
        self._configuration.write_text(
            f"ListenAddress {HOST}\n"
            f"Port {self.port}\n"
            f"HostKey {self._host_key}\n"
            f"AuthorizedKeysFile {self.client_key}.pub\n"
            f"PidFile {folder / 'sshd.pid'}\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "StrictModes no\n"  # the folder above ours may be open to others
            "LogLevel VERBOSE\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in session_environment.items())}\n"
        )

    def command(self) -> list[str]:
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        assert program is not None, "sshd is not installed: these tests need the package openssh-server"
        if os.geteuid() == 0:
            _PRIVILEGE_SEPARATION_FOLDER.mkdir(mode=0o755, exist_ok=True)
        return [program, "-D", "-e", "-f", str(self._configuration)]

    @property
    def login(self) -> str:
        return f"{getpass.getuser()}@{HOST}"

    @property
    def options(self) -> list[str]:
        """For ``ssh -o``: this server's port, and a file of known hosts that holds only its key."""
        return [f"Port={self.port}", f"UserKnownHostsFile={self.known_hosts}", "GlobalKnownHostsFile=/dev/null"]

    def trust_host_key(self, key: Path) -> None:
        """Writes the file of known hosts, with ``key`` as the key of this server."""
        public = key.with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[{HOST}]:{self.port} {public}")

    def reset_connections(self) -> int:
        """Ends all sessions at once, and goes on to let others in; how many processes that took."""
        assert self._process is not None
        serving = _descendants(self._process.pid)
        for pid in serving:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(serving)

    def logins(self) -> int:
        return self.log.read_text(errors="replace").count("Accepted publickey")

    def sessions(self) -> int:
        """Commands that were run; one login can have many."""
        return self.log.read_text(errors="replace").count("Starting session: command")


class RsyncDaemon(_Server):
    """Serves ``folder/module`` as the module ``storage``; ``settings`` are further lines about the module."""

    def __init__(self, folder: Path, *, settings: str = "read only = no\n") -> None:
        super().__init__(folder, free_port())
        self.module = folder / "module"
        self.module.mkdir()
        self._configuration = folder / "rsyncd.conf"
        self._configuration.write_text(
            f"pid file = {folder / 'rsyncd.pid'}\n"
            "use chroot = no\n"
            f"uid = {os.geteuid()}\n"
            f"gid = {os.getegid()}\n"
            "[storage]\n"
            f"path = {self.module}\n" + settings
        )

    @property
    def url(self) -> str:
        return f"rsync://{HOST}:{self.port}/storage"

    def command(self) -> list[str]:
        return [
            "rsync",
            "--daemon",
            "--no-detach",
            f"--config={self._configuration}",
            f"--address={HOST}",
            f"--port={self.port}",
        ]


def _descendants(pid: int) -> list[int]:
    """All processes below ``pid``, from the kernel's own list."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_descendants(child)]
    return found
