"""Events and leases for tests of the ledger, which need no archive and no recogniser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from audioctl.clips import ClipRecord, StoredFile
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
    UploadRevoked,
)
from audioctl.ledger.journal import JournalWriter, journal_path
from audioctl.ledger.lease import Lease, LeaseHolder, lease_path
from audioctl.runs import Run, RunArchive, run_folder, write_run
from audioctl.states import ClipState, Damage, Outcome, Reason, Stage

DAY, SLOT = "2025-01-25", "12_30"
AT = "2025-01-25T12:40:00Z"
ARCHIVE = ArchiveFile("/staging/0_2025-01-25_12_30.tar.xz", 1_000, 7)
STAGES = [Stage.EXTRACT, Stage.TRANSCRIBE, Stage.UPLOAD]
STAGES_WITH_DATABASE = list(Stage)
BATCH_SIZE = 3


def started(attempt: int = 1, **changes: Any) -> AttemptStarted:
    event = AttemptStarted(
        at=AT, attempt=attempt, run_id=None, job_id=None, node="gpu1", version="0.1.0", archive=ARCHIVE,
        batch_size=BATCH_SIZE, model="bundled", stages=STAGES,
    )  # fmt: skip
    return msgspec.structs.replace(event, **changes)


def ended(attempt: int = 1, outcome: Outcome = Outcome.DONE, error: str | None = None) -> AttemptEnded:
    return AttemptEnded(at=AT, attempt=attempt, outcome=outcome, error=error)


def revoked(batch: int, reason: str = "file missing") -> UploadRevoked:
    return UploadRevoked(at=AT, batch=batch, reason=reason)


def read_to_end(batches: int, damage: Damage | None = None) -> ArchiveRead:
    return ArchiveRead(
        at=AT, batches=batches, members=BATCH_SIZE * batches, damage=damage, detail=damage and "It is cut."
    )


def extracted(batch: int, digest: str = "a") -> BatchExtracted:
    return BatchExtracted(at=AT, batch=batch, first_ordinal=BATCH_SIZE * batch, members=BATCH_SIZE, digest=digest)


def begun(batch: int, clip: int | None = None) -> RecognitionBegun:
    return RecognitionBegun(at=AT, batch=batch, clip=clip)


def clip_lines(batch: int, text: str = "one two") -> list[Event]:
    """One stored clip, one rejected, one skipped member."""
    first = BATCH_SIZE * batch
    return [
        ClipTranscribed(at=AT, batch=batch, clip=clip)
        for clip in (
            ClipRecord(first, f"{first}.mp3", ClipState.STORED, duration_seconds=2.5, text=text),
            ClipRecord(first + 1, f"{first + 1}.mp3", ClipState.REJECTED, Reason.UNDECODABLE, "no audio in it"),
            ClipRecord(first + 2, "README", ClipState.SKIPPED, Reason.NOT_AUDIO),
        )
    ]


def transcribed(batch: int, text: str = "one two") -> list[Event]:
    """What one append of a job holds."""
    done = BatchTranscribed(at=AT, batch=batch, stored=1, rejected=1, skipped=1, audio_seconds=2.5)
    return [*clip_lines(batch, text), done]


def recorded(batch: int) -> BatchRecorded:
    return BatchRecorded(at=AT, batch=batch)


def uploaded(batch: int, destination: str = "archive@storage:/radio") -> BatchUploaded:
    return BatchUploaded(at=AT, batch=batch, destination=destination, files=[StoredFile(3 * batch, "x.opus", 9, "0")])


def confirmed(batch: int) -> BatchConfirmed:
    return BatchConfirmed(at=AT, batch=batch)


def failed(batch: int, stage: Stage, error: str = "connection refused") -> StageFailed:
    return StageFailed(at=AT, batch=batch, stage=stage, error=error)


def whole_archive(batches: int = 2, attempt: int = 1, **changes: Any) -> list[Event]:
    """The journal of an archive that went well."""
    events: list[Event] = [started(attempt, **changes)]
    for batch in range(batches):
        events += [extracted(batch), *transcribed(batch), uploaded(batch)]
    return [*events, read_to_end(batches), ended(attempt)]


def encode(events: Sequence[Event]) -> bytes:
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events)


def write_journal(state_dir: Path, slot: str, events: Sequence[Event], day: str = DAY) -> Path:
    """Appends, as a job does that holds the lease."""
    journal = journal_path(state_dir, day, slot)
    with Lease.acquire(lease_path(journal), run_id=None, job_id=None) as lease, JournalWriter(journal, lease) as writer:
        writer.append(*events)
    return journal


def submit(state_dir: Path, slots: Sequence[str], run_id: str = "20250125T123000Z-0001", **changes: Any) -> Path:
    """A run whose jobs nobody has started; its folder."""
    archives = [RunArchive(slot, f"/staging/{slot}.tar", str(index)) for index, slot in enumerate(slots)]
    run = Run(run_id, DAY, AT, "0.1.0", "local", 2, archives)
    run = msgspec.structs.replace(run, **changes)
    write_run(run_folder(state_dir, run), run, {})
    return run_folder(state_dir, run)


def write_holder(path: Path, **changes: Any) -> LeaseHolder:
    """A lease that somebody else made, long ago on another machine unless ``changes`` say otherwise."""
    holder = LeaseHolder("0" * 16, "gpu7", "another boot", 4711, "1", None, "77", "2025-01-25T12:00:00Z")
    holder = msgspec.structs.replace(holder, **changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(holder))
    return holder


_HOLD = """
import sys
from pathlib import Path
from audioctl.ledger.lease import Lease
leases = [Lease.acquire(Path(path), run_id=None, job_id=None) for path in sys.argv[1:]]
print("held", flush=True)
sys.stdin.read()
for lease in leases:
    lease.release()
"""


@contextmanager
def holder_process(*paths: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds these leases: until its standard input ends, or however the test ends it."""
    command = [sys.executable, "-c", _HOLD, *map(str, paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()
