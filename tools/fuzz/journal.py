"""Fuzzing a journal: whatever its bytes are, it says something, or that it is damaged, and to everybody the same."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import audioctl.ledger.absorb
import audioctl.ledger.absorb_journal
import audioctl.ledger.journal
import audioctl.ledger.lines
import audioctl.ledger.progress
import audioctl.ledger.rows
import audioctl.ledger.transcripts
import audioctl.ledger.verdict
from audioctl.clips import ClipRecord, StoredFile
from audioctl.errors import JournalError
from audioctl.ledger.absorb import refresh
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
    StageFailed,
    UploadRevoked,
)
from audioctl.ledger.journal import Entry, journal_path, last_event, read_entries
from audioctl.ledger.models import ArchiveRow, open_private_ledger
from audioctl.ledger.progress import read_progress
from audioctl.ledger.transcripts import read_transcripts
from audioctl.states import ClipState, Damage, Outcome, Reason, Stage
from tools.fuzz.mutations import NUMBERS, Mutation, inserting

_AT = "2025-01-25T12:40:00Z"
_DAY, _SLOT = "2025-01-25", "12_30"
_VALUES: tuple[Any, ...] = (
    *NUMBERS,
    None,
    True,
    0.5,
    -1e300,
    "",
    "x",
    "\0",
    "é🎧",
    [],
    {},
    [[]],
    *Stage,
    *Damage,
    *Reason,
)
_TOKENS = (b"\n", b"{}\n", b"null\n", b"\0", b"\xff", b'"', b"[" * 3000, b"\\ud800", b"\\u0000", b"1e999", b"9" * 5000)


class JournalTarget:
    """``folder`` is where the journal of each input is written."""

    files = frozenset(
        str(module.__file__)
        for module in (
            audioctl.ledger.absorb,
            audioctl.ledger.absorb_journal,
            audioctl.ledger.journal,
            audioctl.ledger.lines,
            audioctl.ledger.progress,
            audioctl.ledger.rows,
            audioctl.ledger.transcripts,
            audioctl.ledger.verdict,
        )
    )

    def __init__(self, folder: Path) -> None:
        self._state_dir = folder
        self.seeds: Sequence[bytes] = _seeds()
        self.mutations: Sequence[Mutation] = (inserting(_TOKENS), _change_value, _change_lines, _change_lines)

    def run(self, content: bytes) -> None:
        journal = journal_path(self._state_dir, _DAY, _SLOT)
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_bytes(content)
        entries, is_damaged = _entries(journal)
        for number, entry in enumerate(entries[:3], 1):
            assert _entries(journal, entry.end) == (entries[number:], is_damaged), "reading on gives something else"
        for read in (read_progress, read_transcripts, last_event):
            try:
                read(journal)
            except JournalError:
                assert is_damaged, f"{read.__name__} finds damage where there is none"
        with open_private_ledger() as ledger:
            refresh(ledger, self._state_dir, lambda _: {})
            ArchiveRow.select().count()


def _entries(journal: Path, offset: int = 0) -> tuple[list[Entry], bool]:
    entries = []
    try:
        for entry in read_entries(journal, offset):
            entries.append(entry)
    except JournalError:
        return entries, True
    return entries, False


def _seeds() -> list[bytes]:
    archive = ArchiveFile("/staging/0_2025-01-25_12_30.tar.xz", 1_000, 7)
    clip = ClipRecord(0, "é.mp3", ClipState.STORED, duration_seconds=2.5, text="один two", storage_path="audio/a.opus")
    bad = ClipRecord(1, "b.mp3", ClipState.REJECTED, Reason.UNDECODABLE, "no audio in it")
    events: list[Event] = [
        AttemptStarted(
            at=_AT, attempt=1, run_id=None, job_id="7", node="gpu1", version="0.1.0", archive=archive, batch_size=2,
            model="bundled", stages=list(Stage),
        ),
        BatchExtracted(at=_AT, batch=0, first_ordinal=0, members=2, digest="a"),
        ClipTranscribed(at=_AT, batch=0, clip=clip),
        ClipTranscribed(at=_AT, batch=0, clip=bad),
        BatchTranscribed(at=_AT, batch=0, stored=1, rejected=1, skipped=0, audio_seconds=2.5),
        BatchRecorded(at=_AT, batch=0),
        BatchUploaded(at=_AT, batch=0, destination="/storage", files=[StoredFile(0, "audio/a.opus", 9, "0")]),
        BatchConfirmed(at=_AT, batch=0),
        StageFailed(at=_AT, batch=0, stage=Stage.UPLOAD, error="connection refused"),
        UploadRevoked(at=_AT, batch=0, reason="file missing"),
        ArchiveRead(at=_AT, batches=1, members=2, damage=Damage.CUT_OFF, detail="It is cut."),
        AttemptEnded(at=_AT, attempt=1, outcome=Outcome.DONE, damage=Damage.CUT_OFF),
    ]  # fmt: skip
    return [b"".join(msgspec.json.encode(event) + b"\n" for event in events), b""]


def _change_lines(content: bytes, choices: random.Random) -> bytes:
    """One is doubled, dropped or moved."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    line = lines[choices.randrange(len(lines))]
    if choices.random() < 0.7:
        lines.remove(line)
    if choices.random() < 0.7:
        lines.insert(choices.randint(0, len(lines)), line)
    return b"".join(lines)


def _change_value(content: bytes, choices: random.Random) -> bytes:
    """A value in one line becomes another, or is left out."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    at = choices.randrange(len(lines))
    try:
        event = json.loads(lines[at])
    except (ValueError, RecursionError):
        return content
    inside = event
    while isinstance(inside, dict) and inside:
        key = choices.choice(list(inside))
        if not isinstance(inside[key], dict):
            inside[key] = choices.choice(_VALUES)
            break
        inside = inside[key]
    lines[at] = json.dumps(event, ensure_ascii=choices.random() < 0.5).encode(errors="surrogatepass") + b"\n"
    return b"".join(lines)
