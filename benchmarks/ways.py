"""The ways from an archive to transcripts and Opus copies on a storage server that ``whole_job`` compares.

All start from the same archive and send to the same ssh server. ``OldOrder`` is the job as scripts do it: unpack it
all, then for each clip two ffmpegs, one call of a recogniser, one ssh and one rsync. ``Ours`` is audioctl.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec
from faster_whisper import BatchedInferencePipeline, WhisperModel

from audioctl.clips import Segment, Window, WindowTranscript
from audioctl.engines.base import Engine
from audioctl.ledger.journal import journal_path, newest_timing
from audioctl.names import storage_folder
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.run import ArchiveJob, Surroundings, process_archive
from audioctl.settings import Convert, Extract, Paths, Settings, Transcribe, Upload
from audioctl.timing import Timing

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sshd import Sshd as Sshd

DAY, SLOT = "2025-01-25", "12_30"
FFMPEG = ["ffmpeg", "-nostdin", "-v", "quiet", "-y", "-threads", "1"]
TO_WAV = ["-ac", "1", "-ar", "16000"]
TO_OPUS = ["-ac", "1", "-ar", "16000", "-c:a", "libopus", "-b:a", "32k", "-application", "voip"]

OLD_UPLOADS = 8
"""Side by side, where they run in the background; sshd turns logins away from 10 on (``MaxStartups``)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``heard`` is the text of each clip by its name in the archive; ``busy_seconds`` those of the recogniser.

    ``timing`` is where the time of a job of ours went.
    """

    heard: dict[str, str]
    files: int
    busy_seconds: float
    timing: Timing | None = None


class Hear(Protocol):
    def __call__(self, wav: Path) -> str: ...


class Way(Protocol):
    def __call__(self, archive: Path, work: Path) -> Outcome: ...


@dataclass
class OldOrder:
    """``uploads_at_once`` of 0 waits for each clip's upload, as it waits for everything else.

    Its other half would be deleting files that wait for their upload, as has been seen; that it is spared. A clip that
    ffmpeg cannot read is passed over, and does not end the job. Copies are named after their clips, without folders.
    """

    hear: Hear
    server: Sshd
    uploads_at_once: int = 0
    busy_seconds: float = field(default=0.0, init=False)

    def __call__(self, archive: Path, work: Path) -> Outcome:
        self.busy_seconds = 0.0
        unpacked, opuses, target = work / "unpacked", work / "opus", work / "storage"
        unpacked.mkdir()
        opuses.mkdir()
        subprocess.run(["tar", "-xf", archive, "-C", unpacked], check=True)
        heard = {}
        with self._uploads() as upload:
            for clip in sorted(path for path in unpacked.rglob("*") if path.is_file()):
                wav, opus = clip.with_suffix(".wav"), opuses / clip.with_suffix(".opus").name
                if not (convert(clip, TO_WAV, wav) and convert(clip, TO_OPUS, opus)):
                    continue
                heard[str(clip.relative_to(unpacked))] = self._timed(wav)
                upload(opus, target)
        return Outcome(heard, delivered(target), self.busy_seconds)

    def _timed(self, wav: Path) -> str:
        began = time.perf_counter()
        text = self.hear(wav)
        self.busy_seconds += time.perf_counter() - began
        return text

    @contextmanager
    def _uploads(self) -> Iterator[Callable[[Path, Path], object]]:
        if self.uploads_at_once == 0:
            yield self._send
            return
        with ThreadPoolExecutor(self.uploads_at_once) as pool:
            sent = []
            yield lambda opus, target: sent.append(pool.submit(self._send, opus, target))
            for one in sent:
                one.result()

    def _send(self, opus: Path, target: Path) -> None:
        shell = remote_shell(self.server)
        subprocess.run([*shell, self.server.login, f"mkdir -p {shlex.quote(str(target))}"], check=True)
        destination = f"{self.server.login}:{target}/"
        subprocess.run(["rsync", "-az", "--rsh", shlex.join(shell), opus, destination], check=True)


@dataclass(frozen=True)
class Ours:
    """``engine`` is loaded already; ``batch_size`` is ``extract.stream_batch_size``."""

    engine: Engine
    server: Sshd
    batch_size: int
    transcription: Transcribe

    def __call__(self, archive: Path, work: Path) -> Outcome:
        settings = Settings(
            paths=Paths(state_dir=str(work / "state"), scratch=str(work / "scratch")),
            extract=Extract(stream_batch_size=self.batch_size),
            convert=Convert(num_workers=len(os.sched_getaffinity(0))),
            transcribe=self.transcription,
            upload=Upload(
                destination=f"{self.server.login}:{work / 'storage'}",
                ssh_key=str(self.server.client_key),
                ssh_options=tuple(self.server.options),
            ),
        )
        self.engine.busy_seconds = 0.0
        around = Surroundings(lambda: self.engine, Counters(), DrainRequest(1), print)
        process_archive(ArchiveJob(DAY, SLOT, archive), settings, around)
        journal = journal_path(work / "state", DAY, SLOT)
        files = delivered(work / "storage" / storage_folder(DAY, SLOT))
        return Outcome(journalled_texts(journal), files, self.engine.busy_seconds, newest_timing(journal))


def one_call_a_clip(whisper: WhisperModel, beam_size: int) -> Hear:
    def hear(wav: Path) -> str:
        segments, _ = whisper.transcribe(str(wav), beam_size=beam_size, vad_filter=True)
        return " ".join(segment.text.strip() for segment in segments)

    return hear


def one_batched_call_a_clip(whisper: WhisperModel, beam_size: int) -> Hear:
    pipeline = BatchedInferencePipeline(whisper)

    def hear(wav: Path) -> str:
        segments, _ = pipeline.transcribe(str(wav), beam_size=beam_size, batch_size=16)
        return " ".join(segment.text.strip() for segment in segments)

    return hear


@dataclass
class StandIn:
    """A recogniser that takes time like one on a GPU, and no processor: a fixed cost a call, the rest by the sound.

    It hears nothing, so nothing can be said about words. ``windows_a_call`` go into one call of ours; the old order's
    calls get the whole clip, without looking for speech in it first, which costs it nothing.
    """

    real_time_factor: float
    seconds_a_call: float
    windows_a_call: int = 32
    model: str = "stand-in"
    busy_seconds: float = 0.0

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        began = time.perf_counter()
        for start in range(0, len(windows), self.windows_a_call):
            self._call(sum(one.duration_seconds for one in windows[start : start + self.windows_a_call]))
        self.busy_seconds += time.perf_counter() - began
        return [
            WindowTranscript([Segment(0.0, one.duration_seconds, "something", -0.1, 0.0, 1.0)], "en", 1.0)
            for one in windows
        ]

    def hear(self, wav: Path) -> str:
        self._call((wav.stat().st_size - 44) / 2 / 16_000)
        return "something"

    def _call(self, audio_seconds: float) -> None:
        time.sleep(self.seconds_a_call + audio_seconds / self.real_time_factor)


def convert(clip: Path, options: list[str], target: Path) -> bool:
    return subprocess.run([*FFMPEG, "-i", clip, *options, target], check=False).returncode == 0


def remote_shell(server: Sshd) -> list[str]:
    return ["ssh", "-i", str(server.client_key), *(part for option in server.options for part in ("-o", option))]


def delivered(folder: Path) -> int:
    """Complete Opus files there; a local folder, because the server is this machine."""
    return sum(1 for path in folder.rglob("*.opus") if path.stat().st_size > 0)


def journalled_texts(journal: Path) -> dict[str, str]:
    events = (msgspec.json.decode(line) for line in journal.read_bytes().splitlines())
    clips: Iterator[Mapping[str, str | None]] = (event["clip"] for event in events if event["event"] == "clip")
    return {str(PurePosixPath(clip["member"] or "")): clip["text"] or "" for clip in clips if clip["state"] == "stored"}
