"""The servers of one lane of trials: its own PostgreSQL, and an sshd behind a proxy, whose rsync can be made to lie."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from postgres import PostgresServer
from proxy import Mood, Proxy
from sshd import Sshd

from audioctl.database import schema
from audioctl.database.connection import CREDENTIALS_VARIABLE, connect

_LYING_RSYNC = """#!/bin/sh
# An rsync that says 0 of a file that is short, once, when the file beside it names the folder.
"{rsync}" "$@" || exit
target="$(cat "{order}" 2>/dev/null)" || exit 0
file="$(find "$target" -name '*.opus' -size +0 | head -n 1)"
if [ -n "$file" ] && rm "{order}" 2>/dev/null; then
  truncate --size=-1 -- "$file"
  echo "$file" > "{done}"
fi
exit 0
"""


class Servers:
    """A context manager; ``restore`` makes all well again, ``forget`` empties the database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._frozen: list[psutil.Process] = []
        programs = folder / "programs"
        programs.mkdir(parents=True)
        self._lie, self._told = folder / "lie", folder / "told"
        rsync = programs / "rsync"
        rsync.write_text(_LYING_RSYNC.format(rsync=shutil.which("rsync"), order=self._lie, done=self._told))
        rsync.chmod(0o755)
        self._sshd = Sshd(folder / "sshd", environment={"PATH": f"{programs}:{os.environ['PATH']}"})

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._sshd)
            self._proxy = stack.enter_context(Proxy(self._sshd.port))
            self._postgres = PostgresServer()
            stack.callback(self._postgres.remove)
            self._postgres.start()
            self.database = self._postgres.new_database()
            os.environ[CREDENTIALS_VARIABLE] = self.database
            with connect() as connection:
                schema.upgrade(connection)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        self._stack.close()

    @property
    def login(self) -> str:
        return self._sshd.login

    @property
    def client_key(self) -> Path:
        return self._sshd.client_key

    @property
    def ssh_options(self) -> tuple[str, ...]:
        port, *others = self._sshd.options
        assert port == f"Port={self._sshd.port}"
        # The host key is known under the port behind the proxy.
        return (f"Port={self._proxy.port}", f"HostKeyAlias=[127.0.0.1]:{self._sshd.port}", *others)

    def turn(self, mood: Mood) -> None:
        self._proxy.mood = mood

    def lie(self, folder: Path) -> None:
        """The next rsync that succeeds leaves one file below ``folder`` short."""
        self._lie.write_text(str(folder))

    def told_a_lie(self) -> bool:
        """Whether it has come to that; to be asked once."""
        if not self._told.exists():
            return False
        self._told.unlink()
        return True

    def restart_database(self) -> None:
        self._postgres.kill()
        self._postgres.start()

    def stop_database(self) -> None:
        self._postgres.kill()

    def terminate_sessions(self) -> None:
        with psycopg.connect(self.database) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                " and pid <> pg_backend_pid()"
            )

    def freeze_sessions(self) -> None:
        """They answer nothing, and their connections stay open."""
        self._frozen = psutil.Process(self._postgres.pid).children()
        for process in self._frozen:
            process.send_signal(signal.SIGSTOP)

    def restore(self) -> None:
        self._proxy.mood = Mood.GOOD
        self._lie.unlink(missing_ok=True)
        for process in self._frozen:
            if process.is_running():
                process.send_signal(signal.SIGCONT)
        self._frozen = []
        if not self._postgres.is_running:
            self._postgres.start()

    def forget(self) -> None:
        with psycopg.connect(self.database) as connection:
            connection.execute("truncate audio_files, processing_queue cascade")
