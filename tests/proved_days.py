"""A day in which all is as it should be, made without a recogniser: archives, journals, files and rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from journals import AT, STAGES, STAGES_WITH_DATABASE, ended, extracted, read_to_end, started, write_journal
from psycopg import Connection
from sshd import Sshd
from workspace import DAY, Workspace

from audioctl.archives import archive_identity
from audioctl.cli.verify import prove
from audioctl.clips import ClipRecord, StoredFile
from audioctl.database.rows import Confirmation, confirm_batch, store_batch
from audioctl.ledger.events import (
    ArchiveFile,
    BatchConfirmed,
    BatchRecorded,
    BatchTranscribed,
    BatchUploaded,
    ClipTranscribed,
    Event,
)
from audioctl.ledger.journal import journal_path
from audioctl.names import storage_path
from audioctl.states import ClipState, Reason
from audioctl.storage.destination import parse_destination

SLOTS = ("12_00", "12_10")
BATCHES = 2


class ProvedDay:
    """Of each slot six members in two batches: of each batch a clip, another, and one that was rejected."""

    def __init__(self, workspace: Workspace, connection: Connection | None = None) -> None:
        self.workspace = workspace
        self.connection = connection
        self.destination = parse_destination(workspace.settings.upload.destination)
        for slot in SLOTS:
            self.archive(slot).write_bytes(b"not looked into " * 100)
            write_journal(workspace.state, slot, list(self._events(slot)))

    def archive(self, slot: str) -> Path:
        return self.workspace.folder / f"0_{DAY}_{slot}.tar"

    def journal(self, slot: str) -> Path:
        return journal_path(self.workspace.state, DAY, slot)

    def file(self, slot: str, member: str) -> Path:
        return self.workspace.storage / storage_path(DAY, slot, member)

    def verify(self, *slots: str) -> list[tuple[str, str, str]]:
        """What ``audioctl verify --checksum`` finds, as (slot, member, problem)."""
        proof = prove(self.workspace.settings, DAY, slots, checksum=True)
        assert proof is not None
        return sorted((found.slot, found.member, found.problem) for found in proof.differences)

    def _events(self, slot: str) -> Iterator[Event]:
        archive = ArchiveFile(str(self.archive(slot)), *archive_identity(self.archive(slot)))
        yield started(archive=archive, stages=STAGES_WITH_DATABASE if self.connection else STAGES)
        for batch in range(BATCHES):
            first = 3 * batch
            clips = [self._store(slot, first), self._store(slot, first + 1)]
            files = [self._file(slot, clip) for clip in clips]
            rejected = ClipRecord(first + 2, f"{first + 2}.mp3", ClipState.REJECTED, Reason.UNDECODABLE)
            yield extracted(batch)
            for clip in (*clips, rejected):
                yield ClipTranscribed(at=AT, batch=batch, clip=clip)
            yield BatchTranscribed(at=AT, batch=batch, stored=2, rejected=1, skipped=0, audio_seconds=5.0)
            yield BatchUploaded(at=AT, batch=batch, destination=str(self.destination), files=files)
            if self.connection is not None:
                store_batch(self.connection, DAY, slot, [*clips, rejected])
                confirmations = [
                    Confirmation(clip.member, self.destination.file_path(file.path), file.size_bytes)
                    for clip, file in zip(clips, files, strict=True)
                ]
                confirm_batch(self.connection, DAY, slot, confirmations)
                yield BatchRecorded(at=AT, batch=batch)
                yield BatchConfirmed(at=AT, batch=batch)
        yield read_to_end(BATCHES)
        yield ended()

    def _store(self, slot: str, ordinal: int) -> ClipRecord:
        member = f"{ordinal}.mp3"
        path = self.file(slot, member)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"The sound of {slot} {member}.".encode() * 10)
        text = f"words of {slot} {ordinal}"
        return ClipRecord(
            ordinal,
            member,
            ClipState.STORED,
            storage_path=storage_path(DAY, slot, member),
            duration_seconds=2.5,
            text=text,
        )

    def _file(self, slot: str, clip: ClipRecord) -> StoredFile:
        content = self.file(slot, clip.member).read_bytes()
        return StoredFile(clip.ordinal, str(clip.storage_path), len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def local_day(workspace: Workspace) -> ProvedDay:
    return ProvedDay(workspace)


@pytest.fixture(params=["local", "ssh"])
def stored_day(request: pytest.FixtureRequest, workspace: Workspace) -> ProvedDay:
    """Its files lie in a folder, or behind a real sshd."""
    if request.param == "ssh":
        sshd: Sshd = request.getfixturevalue("sshd")
        workspace.configure(
            "upload",
            destination=f"{sshd.login}:{workspace.storage}",
            ssh_key=str(sshd.client_key),
            ssh_options=tuple(sshd.options),
        )
    return ProvedDay(workspace)


@pytest.fixture
def recorded_day(workspace: Workspace, upgraded: Connection) -> ProvedDay:
    """With rows in PostgreSQL."""
    workspace.configure("database", enabled=True)
    return ProvedDay(workspace, upgraded)
