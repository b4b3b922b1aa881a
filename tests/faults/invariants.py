"""What must hold when all faults are over and the work was taken up again: nothing lost, doubled or left behind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
from workspace import DAY, SLOT, Workspace

from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.verify import prove
from audioctl.clips import ClipRecord
from audioctl.ledger.comparison import content_of_journals, day_content, ledger_differences
from audioctl.ledger.journal import read_entries
from audioctl.ledger.lease import lease_path, live_holder
from audioctl.ledger.progress import ArchiveProgress
from audioctl.ledger.queries import one_day
from audioctl.ledger.transcripts import read_transcripts
from audioctl.names import storage_folder
from audioctl.states import ArchiveState, ClipState

Snapshot = dict[str, object]


class Tally(NamedTuple):
    """Of the good clips."""

    clips: int
    lost: int
    doubled: int


def tally(workspace: Workspace, database: str | None) -> Tally:
    """Clips without their text, their file or their row, and those that were heard, stored or recorded twice."""
    heard = _heard(workspace.journal)
    sent = _sent(workspace.journal)
    files = workspace.files()
    root = storage_folder(DAY, SLOT)
    rows = _rows(database) if database else []
    lost = 0
    for name, text in workspace.said.items():
        clip = next((clip for clip in heard if (clip.member, clip.text) == (name, text)), None)
        content = clip and files.get(str(clip.storage_path).removeprefix(root))
        is_whole = clip and content and hashlib.sha256(content).hexdigest() == sent.get(clip.ordinal)
        lost += not is_whole or (database is not None and (name, text) not in rows)
    names = [clip.member for clip in heard]
    extra_files = len(files) - len(set(names))
    doubled = (len(names) - len(set(names))) + max(0, extra_files) + (len(rows) - len({name for name, _ in rows}))
    return Tally(len(workspace.said), lost, doubled)


def complaints(workspace: Workspace, database: str | None) -> Iterator[str]:
    """Everything that is not as it must be, in words."""
    found = tally(workspace, database)
    if found.lost or found.doubled:
        yield f"{found.lost} clips lost, {found.doubled} doubled, of {found.clips}"
    if not workspace.progress.is_complete:
        yield "the archive is not complete"
    with fresh_ledger(workspace.settings):
        status = one_day(DAY)
        known = day_content(DAY)
    archive = status.archives[0] if status and status.archives else None
    if archive is None or archive.state is not ArchiveState.DONE or archive.owed_upload or archive.owed_record:
        yield f"the ledger has {archive}"
    for slot, words in ledger_differences(known, content_of_journals(workspace.state, DAY)):
        yield f"the ledger is not what the journals make of it: {slot}: {words}"
    proof = prove(workspace.settings, DAY, [SLOT], checksum=True)
    for difference in proof.differences if proof else ():
        yield f"verify: {difference.member} {difference.problem} {difference.detail}"
    if left := workspace.scratch_content():
        yield f"left on scratch: {left}"
    if left := [process.cmdline() for process in workspace.processes()]:
        yield f"still running: {left}"
    if live_holder(lease_path(workspace.journal)) is not None:
        yield "the lease is still held"


def snapshot(workspace: Workspace, database: str | None) -> Snapshot:
    """What a second ``resume`` must leave as it is: changed rows have another xmin, changed files another inode."""
    files = [path for path in workspace.storage.rglob("*") if path.is_file()]
    return {
        "journal": workspace.journal.read_bytes(),
        "files": {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files},
        "rows": _query(database, "select id, xmin::text from audio_files order by id") if database else [],
        "runs": sorted(path.name for path in (workspace.state / "runs").glob(f"{DAY}/*")),
    }


def _heard(journal: Path) -> list[ClipRecord]:
    """Every stored clip, as often as the recogniser heard it for the journal."""
    progress = ArchiveProgress()
    counted = [entry for entry in read_entries(journal) if progress.apply(entry.event)]
    return [clip for entry in counted for clip in entry.clips if clip.state is ClipState.STORED]


def _sent(journal: Path) -> dict[int, str]:
    """SHA-256 of the files that have arrived, by ordinal."""
    return {file.ordinal: file.sha256 for batch in read_transcripts(journal).values() for file in batch.files}


def _rows(database: str) -> list[tuple[str, str]]:
    return _query(
        database,
        "select member, transcript_text from audio_files join transcripts on audio_file_id = audio_files.id",
    )


def _query(database: str, query: LiteralString) -> list[tuple[str, str]]:
    with psycopg.connect(database) as connection:
        return connection.execute(query).fetchall()
