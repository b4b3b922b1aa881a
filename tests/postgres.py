"""A real PostgreSQL server for tests: in a temporary folder, on a Unix socket and a loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

_BINARIES = Path("/usr/lib/postgresql")
# PostgreSQL refuses to run as root; Debian's package made this user for it.
_USER = "postgres" if os.geteuid() == 0 else None
_START_SECONDS = 60


class PostgresServer:
    """``start`` and ``stop`` as often as you like; ``kill`` ends it as a power cut would."""

    clerk_password = "correct-horse-battery"
    """Which the role ``clerk`` must show on the loopback port."""

    def __init__(self) -> None:
        self._programs = _newest_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="audioctl-postgres-"))
        if _USER:
            shutil.chown(self._folder, _USER)
            self._folder.chmod(0o711)  # the way to the socket, for those whom file modes hold back
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = _free_port()
        self._run(
            "initdb", "--pgdata", "data", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync",
        )  # fmt: skip

    @property
    def conninfo(self) -> str:
        """The superuser's way in, over the Unix socket."""
        return f"host={self._folder} port={self.port} user=postgres dbname=postgres"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        settings = {"port": self.port, "unix_socket_directories": self._folder, "fsync": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *arguments],
                cwd=self._folder, user=_USER, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.conninfo).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """No check point, no farewell to clients; the next ``start`` has to recover."""
        self._end(signal.SIGQUIT)

    def new_database(self) -> str:
        """Makes an empty database and returns how to reach it."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return f"host={self._folder} port={self.port} user=postgres dbname={name}"

    def make_clerk(self) -> None:
        """A role without privileges that logs in with ``clerk_password``."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(sql.SQL("create role clerk login password {}").format(self.clerk_password))

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._folder, user=_USER, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait()
            self._process = None


def _newest_programs() -> Path:
    found = sorted(_BINARIES.glob("*/bin"), key=lambda folder: float(folder.parent.name))
    assert found, f"No PostgreSQL server under {_BINARIES}: apt install postgresql"
    return found[-1]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One running server for all tests; a test that takes it away brings it back."""
    server = PostgresServer()
    try:
        server.start()
        server.make_clerk()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, which DB_CREDS names."""
    conninfo = postgres.new_database()
    monkeypatch.setenv("DB_CREDS", conninfo)
    return conninfo
