"""What a look costs when journals have grown: ``python -m benchmarks.absorb [--clips 200] [--repeats 3]``.

A ledger of a year, and a day on top of it whose 144 archives have just been worked on, with real journals: 20 batches
of ``--clips`` clips each, every clip with its segments. Each figure is a whole process beside ``wc -l`` of the same
journals, which reads the bytes and does nothing with them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from audioctl.clips import ClipRecord, Segment, StoredFile
from audioctl.ledger.events import (
    AttemptEnded,
    BatchTranscribed,
    BatchUploaded,
    ClipTranscribed,
    Event,
)
from audioctl.ledger.journal import JournalWriter, journal_path
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.models import ledger_path
from audioctl.names import storage_path
from audioctl.states import ClipState, Outcome
from benchmarks.status import archive_events, audioctl, day_number, make_year, slots_of_day, write_day_run

BATCHES = 20
TEXT = "and now the weather for the north and the west of the country until tomorrow evening"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365, help="of the year below")
    parser.add_argument("--archives", type=int, default=144)
    parser.add_argument("--clips", type=int, default=200, help="of a batch; an archive has 20")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audioctl-benchmark-") as folder:
        state_dir = Path(folder, "state")
        slots = slots_of_day(options.archives)
        make_year(state_dir, [day_number(number) for number in range(options.days)], slots, BATCHES)
        day = day_number(options.days)
        size = make_day(state_dir, day, slots, options.clips)
        clips = options.archives * BATCHES * options.clips
        archives = (options.days + 1) * options.archives
        print(
            f"{archives:,} archives and {archives * BATCHES:,} batches in the ledger; the last day has {clips:,} clips,"
        )
        print(f"journals of {size / 1e6:,.0f} MB; medians of {options.repeats}\n")
        measure(state_dir, day, slots, options.repeats, size, clips)


def measure(state_dir: Path, day: str, slots: Sequence[str], repeats: int, size: int, clips: int) -> None:
    figures: dict[str, list[float]] = {}

    def take(name: str, command: Sequence[str]) -> None:
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        figures.setdefault(name, []).append(time.perf_counter() - began)

    def run(name: str, *arguments: str) -> None:
        take(name, [sys.executable, *audioctl(state_dir, *arguments)])

    journals = [str(journal_path(state_dir, day, slot)) for slot in slots]
    ledger = ledger_path(state_dir)
    untouched = ledger.read_bytes()
    for repeat in range(repeats):
        ledger.write_bytes(untouched)
        take("wc -l of the journals", ["wc", "-l", *journals])
        run("first status of the day: all is new", "status", day)
        run("the next: nothing is new", "status", day)
        append_batches(state_dir, day, slots[:8], clips=200, number=repeat)
        run("8 archives have one batch more", "status", day)
        run("resume --dry-run of the day", "resume", day, "--dry-run")
    reading = figures["wc -l of the journals"]
    print(f"{'':<38}{'seconds':>9}{'÷ wc -l':>9}")
    for name, taken in figures.items():
        ratio = statistics.median(own / other for own, other in zip(taken, reading, strict=True))
        print(f"{name:<38}{statistics.median(taken):>9.2f}{ratio:>9.1f}")
    first = statistics.median(figures["first status of the day: all is new"])
    print(f"\nAbsorbing: {size / 1e6 / first:,.0f} MB/s, {clips / first:,.0f} clips/s; decoding JSON bounds it:")
    print(f"decoding alone, in one thread, takes {decoding_seconds(journals):.2f} s.")


def decoding_seconds(journals: Sequence[str]) -> float:
    decoder = msgspec.json.Decoder(Event)
    began = time.perf_counter()
    for journal in journals:
        with Path(journal).open("rb") as lines:
            for line in lines:
                decoder.decode(line)
    return time.perf_counter() - began


def make_day(state_dir: Path, day: str, slots: Sequence[str], clips: int) -> int:
    """A day that is done, whose journals nobody has looked at; their size in bytes."""
    folder = write_day_run(state_dir, day, slots)
    size = 0
    for slot in slots:
        journal = journal_path(state_dir, day, slot)
        with (
            Lease.acquire(lease_path(journal), run_id=folder.name, job_id=slot) as lease,
            JournalWriter(journal, lease) as writer,
        ):
            writer.append(*_events(day, slot, clips, folder.name))
        size += journal.stat().st_size
    return size


def append_batches(state_dir: Path, day: str, slots: Sequence[str], clips: int, number: int) -> None:
    """One batch is transcribed and stored anew."""
    for slot in slots:
        journal = journal_path(state_dir, day, slot)
        with (
            Lease.acquire(lease_path(journal), run_id=None, job_id=slot) as lease,
            JournalWriter(journal, lease) as writer,
        ):
            writer.append(*_batch(day, slot, number, clips))
            writer.append(AttemptEnded(at=_now(), attempt=1, outcome=Outcome.DONE))


def _events(day: str, slot: str, clips: int, run_id: str) -> Iterator[Event]:
    for event in archive_events(BATCHES, run_id):
        match event:
            case BatchTranscribed(batch=batch):
                yield from _batch(day, slot, batch, clips)
            case BatchUploaded():
                pass  # comes with the batch
            case _:
                yield event


def _batch(day: str, slot: str, batch: int, clips: int) -> Iterator[Event]:
    first = batch * clips
    for ordinal in range(first, first + clips):
        member = f"radio/{day}/{ordinal:06d}.mp3"
        segments = [Segment(start, start + 4.5, TEXT, -0.2345, 0.0123, 1.234, 0.0) for start in (0.0, 5.0, 10.0)]
        clip = ClipRecord(
            ordinal, member, ClipState.STORED, storage_path=storage_path(day, slot, member), size_bytes=100_000,
            sha256=f"{ordinal:064x}", duration_seconds=15.0, language="en", language_probability=0.98,
            text=" ".join([TEXT] * 3), segments=segments, model="large-v3-turbo",
        )  # fmt: skip
        yield ClipTranscribed(at=_now(), batch=batch, clip=clip)
    yield BatchTranscribed(at=_now(), batch=batch, stored=clips, rejected=0, skipped=0, audio_seconds=15.0 * clips)
    files = [
        StoredFile(ordinal, storage_path(day, slot, f"radio/{day}/{ordinal:06d}.mp3"), 60_000, f"{ordinal:064x}")
        for ordinal in range(first, first + clips)
    ]
    yield BatchUploaded(at=_now(), batch=batch, destination="archive@storage:/radio", files=files)


def _now() -> str:
    return "2026-01-01T00:00:00Z"


if __name__ == "__main__":
    main()
