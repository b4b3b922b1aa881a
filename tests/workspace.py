"""A folder with all that one archive needs, and the ways to work on it: in this process, or as ``audioctl`` does."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import av
import msgspec
import psutil
import pytest
from archives import Entry, file_entry, write_archive
from speech import spoken_clips

from audioctl.clips import ClipRecord, Window, WindowTranscript
from audioctl.configuration import dump_toml
from audioctl.engines.base import Engine
from audioctl.engines.loading import load_engine
from audioctl.ledger.journal import journal_path
from audioctl.ledger.progress import ArchiveProgress, read_progress
from audioctl.ledger.transcripts import read_transcripts
from audioctl.names import storage_folder
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.job import ArchiveJob, Surroundings
from audioctl.pipeline.run import process_archive
from audioctl.settings import Convert, Database, Extract, Paths, Settings, Transcribe, Upload
from audioctl.states import ClipState, ExitCode

DAY, SLOT = "2025-01-25", "12_30"
PATIENCE_SECONDS = 60.0
"""Far more than anything here takes; only what is broken uses it up."""

_MARK = "TEST_WORKSPACE"
"""An environment variable that every process of a workspace inherits."""

Result = subprocess.CompletedProcess[str]


def spoken(count: int, first: int = 0) -> tuple[list[Entry], dict[str, str]]:
    """Members that speak, and what they say by name; ``first`` is the number of the first."""
    entries, said = [], {}
    for number, clip in enumerate(islice(cycle(spoken_clips()), first, first + count), first):
        name = f"radio/{number:03d}.mp3"
        entries.append(file_entry(name, clip.content))
        said[name] = clip.text
    return entries, said


@cache
def bundled_engine() -> Engine:
    """Loaded once for all tests of this process."""
    return load_engine(Transcribe(model="bundled", device="cpu"))


class CountingEngine:
    """The bundled recogniser, and the clips that it was asked to hear."""

    def __init__(self) -> None:
        self.model = bundled_engine().model
        self.busy_seconds = 0.0
        self.heard: list[int] = []

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        self.heard += dict.fromkeys(window.clip for window in windows)
        return bundled_engine().transcribe(windows)


class Workspace:
    """Nothing that is set on this machine matters here: all settings are in ``settings``, in a file for commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.storage = folder / "storage"
        self.scratch = folder / "scratch"
        self.archive = folder / f"0_{DAY}_{SLOT}.tar"
        self.said: dict[str, str] = {}
        self.messages: list[str] = []
        self.settings = Settings(
            paths=Paths(archives=str(folder), state_dir=str(self.state), scratch=str(self.scratch)),
            extract=Extract(stream_batch_size=5),
            convert=Convert(num_workers=2),
            transcribe=Transcribe(model="bundled", device="cpu"),
            upload=Upload(destination=str(self.storage), attempts=1),
            database=Database(give_up_after=1),
        )

    def configure(self, section: str, **values: object) -> None:
        changed = msgspec.structs.replace(getattr(self.settings, section), **values)
        self.settings = msgspec.structs.replace(self.settings, **{section: changed})

    def write_clips(self, count: int) -> None:
        """An archive of nothing but good clips."""
        entries, self.said = spoken(count)
        write_archive(self.archive, entries)

    def write_between_clips(self, *bad: Entry) -> None:
        """An archive with three good clips before and three behind."""
        before, said_before = spoken(3)
        behind, said_behind = spoken(3, first=3)
        self.said = said_before | said_behind
        write_archive(self.archive, [*before, *bad, *behind])

    # What can be done with it

    def process(self, *, engine: Engine | None = None, drain: DrainRequest | None = None) -> ArchiveProgress:
        """In this process."""
        around = Surroundings(
            lambda: engine or bundled_engine(), Counters(), drain or DrainRequest(60), self.messages.append
        )
        return process_archive(ArchiveJob(DAY, SLOT, self.archive), self.settings, around)

    def process_tar(self, **popen: Any) -> Result:
        """``audioctl process-tar``, to its end."""
        return self.audioctl("process-tar", DAY, str(self.archive), SLOT, **popen)

    def audioctl(self, *arguments: str, **popen: Any) -> Result:
        process = self.start(*arguments, **popen)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
        """``audioctl`` with ``arguments``, in the background."""
        return self.start_program([*self.command, *arguments], **popen)

    @property
    def command(self) -> list[str]:
        """``audioctl`` with the settings as they are now."""
        return [sys.executable, "-P", "-m", "audioctl", "--config", str(self.write_configuration())]

    def start_program(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        largest_file: int | None = None,
        **popen: Any,
    ) -> subprocess.Popen[str]:
        """In a group of its own. ``largest_file`` (bytes) does what a full disk does: writing fails from there on."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
        own |= {_MARK: str(self.folder), "TMPDIR": str(self._temporary())} | dict(environment or {})
        limit = None if largest_file is None else partial(_limit_files, largest_file)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=limit,
            **{"stdin": subprocess.DEVNULL, **popen},
        )

    def write_configuration(self) -> Path:
        path = self.folder / "audioctl.toml"
        path.write_text(dump_toml(self.settings, frozen=False))
        return path

    def _temporary(self) -> Path:
        path = self.folder / "tmp"
        path.mkdir(exist_ok=True)
        return path

    # What came of it

    @property
    def journal(self) -> Path:
        return journal_path(self.state, DAY, SLOT)

    @property
    def progress(self) -> ArchiveProgress:
        return read_progress(self.journal)

    def events(self) -> list[dict[str, Any]]:
        """The whole lines of the journal."""
        content = self.journal.read_bytes() if self.journal.exists() else b""
        return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]

    def event_names(self) -> list[str]:
        return [event["event"] for event in self.events()]

    def records(self) -> dict[str, ClipRecord]:
        """By member, the journal's records that count."""
        clips = [clip for batch in read_transcripts(self.journal).values() for clip in batch.clips]
        records = {clip.member: clip for clip in clips}
        assert len(records) == len(clips), "a member has two records"
        return records

    def files(self, folder: Path | None = None) -> dict[str, bytes]:
        """What was stored, by path below the slot's folder."""
        root = (folder or self.storage) / storage_folder(DAY, SLOT)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def scratch_content(self) -> list[Path]:
        return list(self.scratch.iterdir()) if self.scratch.exists() else []

    def processes(self) -> list[psutil.Process]:
        """Of this workspace and alive, whoever is their parent by now."""
        return [process for process in psutil.process_iter() if _marked(process, str(self.folder))]

    def wait_until_no_process_is_left(self) -> None:
        wait_until(lambda: not self.processes(), f"processes of {self.folder} to end")

    def assert_all_was_heard(self) -> None:
        """Every good clip is stored, with exactly its words and one file that plays; the archive is complete."""
        assert self.progress.is_complete
        records = self.records()
        assert {name: (records[name].state, records[name].text) for name in self.said} == {
            name: (ClipState.STORED, text) for name, text in self.said.items()
        }
        stored = {name: record for name, record in records.items() if record.state is ClipState.STORED}
        files = self.files()
        root = storage_folder(DAY, SLOT)
        assert files.keys() == {str(record.storage_path).removeprefix(root) for record in stored.values()}
        for record in stored.values():
            seconds = _seconds(files[str(record.storage_path).removeprefix(root)])
            assert seconds == pytest.approx(record.duration_seconds, abs=0.1)
        assert self.scratch_content() == []


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def assert_mended(workspace: Workspace) -> None:
    """A second job finishes the work, as ``audioctl resume`` would have it done."""
    result = workspace.process_tar()
    assert result.returncode == ExitCode.DONE, result.stderr
    workspace.assert_all_was_heard()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def _seconds(opus: bytes) -> float:
    with av.open(io.BytesIO(opus), "r") as container:
        return float(sum(frame.samples / frame.sample_rate for frame in container.decode(container.streams.audio[0])))


def _limit_files(size_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def _marked(process: psutil.Process, folder: str) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == folder)
    except psutil.Error:
        return False
