"""A place where days are worked on: archives, settings, a storage server behind sshd, a database, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from audioctl.configuration import dump_toml
from audioctl.names import storage_folder
from audioctl.settings import Convert, Database, Extract, Local, Paths, Settings, Transcribe, Upload
from benchmarks.long_load.clips import write_archive

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from postgres import PostgresServer
from sshd import Sshd

MAX_CONCURRENT = 2
_REPOSITORY = Path(__file__).parents[2]
_MARK = "LONG_LOAD"
"""An environment variable that everything the command starts inherits."""


class Site:
    """A context manager: its servers run within."""

    def __init__(self, folder: Path, *, batch_size: int, cost: float) -> None:
        """``cost`` is how many seconds the recogniser takes for a second of audio."""
        self.folder = folder
        self.state, self.scratch, self.storage = folder / "state", folder / "scratch", folder / "storage"
        self.temporary, self._gpus = folder / "tmp", folder / "gpus"
        for made in (self.scratch, self.temporary, self._gpus):
            made.mkdir()
        for number in range(MAX_CONCURRENT):
            (self._gpus / str(number)).touch()
        self.sshd = Sshd(folder / "sshd")
        self.postgres = PostgresServer()
        self.database = ""
        """How to reach it."""
        self.settings = Settings(
            paths=Paths(
                archives=str(folder / "archives" / "{day}"), state_dir=str(self.state), scratch=str(self.scratch)
            ),
            local=Local(max_concurrent=MAX_CONCURRENT),
            extract=Extract(stream_batch_size=batch_size),
            convert=Convert(num_workers=MAX_CONCURRENT),
            # Tones are no speech, so nobody looks for any.
            transcribe=Transcribe(model="bundled", device="cpu", vad=False),
            upload=Upload(
                destination=f"{self.sshd.login}:{self.storage}",
                ssh_key=str(self.sshd.client_key),
                ssh_options=tuple(self.sshd.options),
            ),
            database=Database(enabled=True),
        )
        self._configuration = folder / "audioctl.toml"
        self._configuration.write_text(dump_toml(self.settings, frozen=False))
        self._cost = cost
        self._lock = threading.Lock()
        self._is_ours: dict[psutil.Process, bool] = {}

    def __enter__(self) -> Self:
        self.sshd.start()
        self.postgres.start()
        self.database = self.postgres.new_database()
        self.audioctl("db", "upgrade")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.sshd.stop()
        self.postgres.remove()

    def write_archive(self, day: str, slot: str, number: int, clips: int) -> Path:
        """An archive of ``clips`` clips that say its ``number`` and their own."""
        folder = self.folder / "archives" / day
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"0_{day}_{slot}.tar"
        write_archive(path, number, clips)
        return path

    def audioctl(self, *arguments: str, exit_codes: Sequence[int] = (0,)) -> str:
        """Runs the command; what it printed."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode in exit_codes, f"audioctl {' '.join(arguments)}: {process.returncode}\n{output}"
        return output

    def start(self, *arguments: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "audioctl", "--config", str(self._configuration), *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def _environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AUDIOCTL_", "PG"))}
        path = [str(Path(__file__).with_name("stand_in")), str(_REPOSITORY)]
        return inherited | {
            _MARK: str(self.folder),
            "DB_CREDS": self.database,
            "PYTHONPATH": os.pathsep.join(path),
            "STAND_IN_COST": str(self._cost),
            "STAND_IN_GPUS": str(self._gpus),
            "TMPDIR": str(self.temporary),
        }

    def processes(self) -> list[psutil.Process]:
        """All that the command started and that live, whoever is their parent by now."""
        with self._lock:  # what is told of a process does not change, and costs most of the look
            self._is_ours = {
                process: self._is_ours[process] if process in self._is_ours else self._is_marked(process)
                for process in psutil.process_iter()
            }
            return [process for process, ours in self._is_ours.items() if ours]

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(_MARK) == str(self.folder))
        except psutil.Error:
            return False

    def stored(self, day: str, slot: str) -> Path:
        return self.storage / storage_folder(day, slot)


def jobs(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that work on an archive."""
    return [process for process in processes if "process-tar" in command_line(process)]


def supervisors(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if "audioctl.executors.supervisor" in command_line(process)]


def command_line(process: psutil.Process) -> list[str]:
    """Empty for one that has gone, a zombie too."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
