"""ssh connections that many calls share: a login costs both machines more than a whole call over a shared one."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from audioctl.environment import without_secrets
from audioctl.locked_folders import LockedFolder
from audioctl.settings import Upload
from audioctl.storage.destination import Destination
from audioctl.storage.failures import explain
from audioctl.storage.processes import Finished, Processes, require_program
from audioctl.temporary import short_folder

SESSIONS_PER_CONNECTION = 8
"""sshd refuses more than 10 on one connection (``MaxSessions`` of sshd_config(5)); some sites allow others in too."""

ACCEPT_NEW = "StrictHostKeyChecking=accept-new"

CONNECT_SECONDS = 20
_IDLE_SECONDS = 60
"""An unused connection closes itself, so that none outlives a job that was killed."""

_SOCKET_ROOM = 27
"""Bytes of a control socket's path below our folder: ``/ssh-1``, up to 10, and what ssh adds while it makes one, 17."""


def check_ssh() -> None:
    """Raises ConfigurationError, with the package to install, when there is no ssh here."""
    require_program("ssh", "openssh-client")


def private_folder() -> LockedFolder:
    """A new folder for control sockets, and whatever else a transfer needs for a while."""
    return short_folder(_SOCKET_ROOM)


def all_ssh_options(upload: Upload) -> tuple[str, ...]:
    """``ssh_options`` of the settings, and what their ``accept_new_host_keys`` means to ssh."""
    return (*upload.ssh_options, ACCEPT_NEW) if upload.accept_new_host_keys else upload.ssh_options


def ssh_command(key: Path | None, options: Sequence[str]) -> list[str]:
    """ssh as every call uses it: nothing is ever asked, and host keys are always checked.

    ``options`` are as after ``ssh -o``: ``["Port=2222"]``. ssh takes the first value that it is given for an option,
    so neither they nor a configuration file can turn these off. ``ACCEPT_NEW`` alone is heard: a host that has no key
    yet gets the first that it shows, and keeps it.
    """
    checking = ACCEPT_NEW if ACCEPT_NEW in options else "StrictHostKeyChecking=yes"
    command = ["ssh", "-T", "-x", "-a", "-o", "BatchMode=yes", "-o", checking]
    if key is not None:
        command += ["-i", str(key.expanduser()), "-o", "IdentitiesOnly=yes"]
    command += ["-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    command += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]
    return [*command, *(part for option in options for part in ("-o", option))]


class SharedConnections:
    """Connections to one server, opened when needed and kept; safe to use from many threads."""

    def __init__(
        self,
        destination: Destination,
        *,
        key: Path | None,
        options: Sequence[str],
        folder: Path,
        processes: Processes,
    ) -> None:
        self._destination = destination
        self._command = ssh_command(key, options)
        self._folder = folder
        self._processes = processes
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []

    @contextmanager
    def session(self) -> Iterator[list[str]]:
        """The ssh command, without the host, that runs something over a connection that has room for it.

        Should the connection break meanwhile, that command logs in by itself, and the next session opens a new one.
        Raises TransferError when there is no way to log in.
        """
        with self._lock:
            connection = next((one for one in self._connections if one.sessions < SESSIONS_PER_CONNECTION), None)
            if connection is None:
                connection = _Connection(self._folder / f"ssh-{len(self._connections)}")
                self._connections.append(connection)
            connection.sessions += 1
        try:
            self._open(connection)
            yield [*self._command, "-o", "ControlMaster=no", "-S", connection.control_path]
        finally:
            with self._lock:
                connection.sessions -= 1

    def close(self) -> None:
        for connection in self._connections:
            if connection.is_open():
                subprocess.run(
                    [*self._command, "-S", connection.control_path, "-O", "exit", self._destination.ssh_host],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=without_secrets(os.environ),
                    timeout=CONNECT_SECONDS,
                    check=False,
                )

    def _open(self, connection: "_Connection") -> None:
        attempts_seen = connection.attempts
        with connection.lock:
            if connection.is_open():
                return
            # Who waited here while another thread failed to log in shares its failure: one attempt after the other
            # would add up the waiting for a server that does not answer.
            if connection.attempts == attempts_seen:
                connection.attempts += 1
                connection.login = self._log_in(connection)
            if connection.login.returncode != 0:
                raise explain(connection.login, self._destination, 2 * CONNECT_SECONDS)

    def _log_in(self, connection: "_Connection") -> Finished:
        connection.socket.unlink(missing_ok=True)
        # With ControlPersist and without a command (-N) ssh goes to the background once it has logged in.
        background = ["-M", "-N", "-S", connection.control_path, "-o", f"ControlPersist={_IDLE_SECONDS}"]
        return self._processes.run(
            [*self._command, *background, self._destination.ssh_host], timeout_seconds=2 * CONNECT_SECONDS
        )


class _Connection:
    def __init__(self, socket_path: Path) -> None:
        self.socket = socket_path
        self.control_path = str(socket_path).replace("%", "%%")
        self.lock = threading.Lock()
        self.sessions = 0
        self.attempts = 0
        self.login = Finished(0)

    def is_open(self) -> bool:
        """Whether an ssh process listens there: a socket can outlive the process that made it."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True
