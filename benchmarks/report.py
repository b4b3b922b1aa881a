"""What the report of a large day costs: ``python -m benchmarks.report [--archives 144] [--clips 3000] [--keep DIR]``.

The day is made of journals as jobs write them: eight GPUs on four nodes, a job that was killed and taken up in the next
morning, a cut archive, clips in many languages, some rejected, some doubtful. Prints the seconds and the peak of memory
of the whole command, and the sizes of what it read and wrote.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from audioctl.clips import ClipRecord, Segment
from audioctl.configuration import dump_toml
from audioctl.ledger.events import (
    ArchiveFile,
    ArchiveRead,
    AttemptEnded,
    AttemptStarted,
    BatchConfirmed,
    BatchExtracted,
    BatchRecorded,
    BatchTranscribed,
    BatchUploaded,
    ClipTranscribed,
    Event,
    RecognitionBegun,
    StageFailed,
)
from audioctl.ledger.journal import journal_path
from audioctl.runs import CONFIG_FILE, Run, RunArchive, run_folder, write_run
from audioctl.settings import Settings, Slurm
from audioctl.states import ClipState, Damage, Flag, Outcome, Reason, Stage
from audioctl.timing import Timing

DAY = "2025-01-25"
RUN_ID = "20250126T010000Z-0001"
BEGAN = int(datetime(2025, 1, 26, 1, 0, tzinfo=UTC).timestamp())
NEXT_MORNING = BEGAN + 9 * 3600
BATCH = 200
JOBS, NODES = 8, 4
CLIPS_PER_SECOND = 5.0
"""Of one job."""

LANGUAGES = ("en", "en", "en", "en", "de", "de", "fr", "fa", "hi", "zh")
TEXTS = {
    "fa": "امروز هوا خوب است و می\u200cخواهم به بازار بروم",
    "hi": "आज मौसम अच्छा है",
    "zh": "今天天气很好我们去市场吧",
    "de": "Heute ist das Wetter schön und wir gehen auf den Markt",
    "fr": "Aujourd’hui il fait beau et nous allons au marché",
    "en": "The weather is nice today and we are going to the market",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=int, default=144)
    parser.add_argument("--clips", type=int, default=3000, help="in each archive")
    parser.add_argument("--keep", type=Path, help="make the day below this folder, and leave it and its page there")
    options = parser.parse_args()
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="audioctl-benchmark-")
        folder = options.keep or Path(stack.enter_context(temporary))
        state_dir, page = folder / "state", folder / "report.html"
        make_day(state_dir, options.archives, options.clips)
        read_bytes = sum(path.stat().st_size for path in (state_dir / "journals" / DAY).iterdir())
        audioctl = [sys.executable, "-m", "audioctl"]
        # The ledger is brought up to date by whatever looks first; that is not what a report costs.
        subprocess.run([*audioctl, "status", DAY, "--state-dir", state_dir], check=True, stdout=subprocess.DEVNULL)
        began = time.perf_counter()
        subprocess.run([*audioctl, "report", DAY, "--state-dir", state_dir, "--out", page], check=True)
        seconds = time.perf_counter() - began
        memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        print(f"{options.archives} archives of {options.clips:,} clips, {read_bytes / 1e6:,.0f} MB of journals")
        print(f"{seconds:.1f} s, at most {memory_mb:.0f} MB of memory, a page of {page.stat().st_size / 1e3:.0f} kB")


def make_day(state_dir: Path, archives: int, clips: int) -> None:
    source = random.Random(1)
    slots = [f"{number // 6:02}_{number % 6}0" for number in range(archives)]
    settings = Settings(slurm=Slurm(gpus="1"))
    run = Run(
        RUN_ID, DAY, at(BEGAN - 60), "0.1.0", "slurm", JOBS,
        [RunArchive(slot, f"/staging/{slot}.tar.xz", f"0_{index}") for index, slot in enumerate(slots)],
    )  # fmt: skip
    write_run(run_folder(state_dir, run), run, {CONFIG_FILE: dump_toml(settings, frozen=True)})
    free_at = [float(BEGAN + 7 * job) for job in range(JOBS)]
    for index, slot in enumerate(slots):
        job = free_at.index(min(free_at))
        path = journal_path(state_dir, DAY, slot)
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = DayWriter(source, slot, f"gpu{job % NODES + 1}", clips)
        with path.open("wb") as journal:
            match index % 48:
                case 17:
                    events = [
                        *writer.attempt(1, free_at[job], stop_after=0.6),
                        *writer.attempt(2, NEXT_MORNING + index),
                    ]
                case 29:
                    events = list(writer.attempt(1, free_at[job], damage=Damage.CUT_OFF, stop_after=0.4))
                case 41:
                    events = list(writer.attempt(1, free_at[job], owed=True))
                case _:
                    events = list(writer.attempt(1, free_at[job]))
            journal.writelines(msgspec.json.encode(event) + b"\n" for event in events)
        free_at[job] += clips / CLIPS_PER_SECOND * source.uniform(0.8, 1.2) + 60


class DayWriter:
    """The journal of one archive."""

    def __init__(self, source: random.Random, slot: str, node: str, clips: int) -> None:
        self._source, self._slot, self._node, self._clips = source, slot, node, clips
        self._done = 0

    def attempt(
        self, number: int, began: float, *, stop_after: float = 1.0, damage: Damage | None = None, owed: bool = False
    ) -> Iterator[Event]:
        """``stop_after`` is a share of the clips; without ``damage`` the job is killed there."""
        now = began
        yield AttemptStarted(
            at=at(now), attempt=number, run_id=RUN_ID, job_id=f"4711_{self._slot}", node=self._node, version="0.1.0",
            archive=ArchiveFile(f"/staging/{self._slot}.tar.xz", 720_000_000, 7), batch_size=BATCH,
            model="large-v3-turbo", stages=list(Stage),
        )  # fmt: skip
        batches = -(-self._clips // BATCH)
        now += 20
        heard_audio = 0.0
        heard = 0
        for batch in range(self._done, batches):
            if batch >= batches * stop_after:
                break
            yield BatchExtracted(at=at(now), batch=batch, first_ordinal=batch * BATCH, members=BATCH, digest=f"{batch}")
            yield RecognitionBegun(at=at(now + 2), batch=batch)
            now += BATCH / CLIPS_PER_SECOND * self._source.uniform(0.8, 1.3)
            clips = [self._clip(batch * BATCH + place) for place in range(BATCH)]
            yield from (ClipTranscribed(at=at(now), batch=batch, clip=clip) for clip in clips)
            states = [clip.state for clip in clips]
            seconds = sum(clip.duration_seconds or 0 for clip in clips)
            heard_audio, heard = heard_audio + seconds, heard + 1
            elapsed = now - began
            timing = Timing(
                elapsed_seconds=elapsed, start_seconds=20, load_seconds=12, transcribe_seconds=0.93 * (elapsed - 20),
                wait_convert_seconds=0.04 * (elapsed - 20), convert_seconds=6 * (elapsed - 20), num_workers=10,
                extract_seconds=0.3 * (elapsed - 20), upload_seconds=0.5 * (elapsed - 20), max_concurrent_uploads=8,
                batches=heard, clips=heard * BATCH, audio_seconds=heard_audio,
            )  # fmt: skip
            yield BatchTranscribed(
                at=at(now), batch=batch, stored=states.count(ClipState.STORED),
                rejected=states.count(ClipState.REJECTED), skipped=states.count(ClipState.SKIPPED),
                audio_seconds=round(seconds, 3), timing=timing,
            )  # fmt: skip
            yield BatchRecorded(at=at(now + 1), batch=batch)
            if owed:
                yield StageFailed(at=at(now + 30), batch=batch, stage=Stage.UPLOAD, error="storage: connection refused")
            else:
                yield BatchUploaded(at=at(now + self._source.uniform(2, 40)), batch=batch, destination="/s", files=[])
                yield BatchConfirmed(at=at(now + 41), batch=batch)
            self._done = batch + 1
        now += 45
        if stop_after < 1 and damage is None:
            return
        detail = "The archive is cut off after 1,200 whole members." if damage else None
        yield ArchiveRead(at=at(now), batches=self._done, members=self._done * BATCH, damage=damage, detail=detail)
        outcome, error = (Outcome.OWED, "storage: connection refused") if owed else (Outcome.DONE, None)
        yield AttemptEnded(at=at(now), attempt=number, outcome=outcome, error=error, timing=timing)

    def _clip(self, ordinal: int) -> ClipRecord:
        chance = self._source.random()
        member = f"radio/2025/{ordinal:06d}.mp3"
        if chance < 0.001:
            return ClipRecord(ordinal, f"README-{ordinal}", ClipState.SKIPPED, Reason.NOT_AUDIO)
        if chance < 0.004:
            reason = self._source.choice([Reason.EMPTY, Reason.UNDECODABLE, Reason.TOO_LARGE])
            return ClipRecord(ordinal, member, ClipState.REJECTED, reason, "invalid data found when processing input")
        seconds = round(min(1900.0, self._source.lognormvariate(2.0, 0.9)), 3)
        language = self._source.choice(LANGUAGES)
        doubt = self._source.expovariate(3.2)
        texts = [TEXTS[language]] * (1 + int(seconds / 8)) if chance < 0.95 else []
        step = seconds / max(1, len(texts))
        segments = [
            Segment(round(place * step, 2), round((place + 1) * step, 2), text, round(-doubt, 4), 0.01, 1.2)
            for place, text in enumerate(texts)
        ]
        flags = ([] if segments else [Flag.NO_SPEECH]) + ([Flag.LOW_CONFIDENCE] if segments and doubt > 1 else [])
        return ClipRecord(
            ordinal, member, ClipState.STORED, None if segments else Reason.NO_SPEECH,
            storage_path=f"audio/2025/01/25/{self._slot}/{member[:-4]}.opus", size_bytes=40_000, sha256="0" * 64,
            duration_seconds=seconds, language=language, language_probability=0.97, text=" ".join(texts),
            segments=segments, flags=flags, model="large-v3-turbo",
        )  # fmt: skip


def at(time_: float) -> str:
    return datetime.fromtimestamp(time_, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
