"""The lines of a journal. Each is one JSON object whose ``event`` says which of these it is.

A line says what has happened, never what is about to; so a line that is missing means work that is done again.
"""

from __future__ import annotations

import msgspec

from audioctl.clips import ClipRecord, Count, StoredFile
from audioctl.states import Damage, Outcome, Stage
from audioctl.timing import Timing


class ArchiveFile(msgspec.Struct, frozen=True):
    """Which file was read: tells whether an archive was replaced since."""

    path: str
    size_bytes: int
    mtime_ns: int


class _Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    at: str


class Step(_Event, frozen=True, kw_only=True):
    """What happened in an attempt: the one under way where ``attempt`` is ``None``, as older versions wrote.

    A job that hung for minutes in the middle of a write may end that write when another one has taken over, and no
    lease can keep it from that. By ``attempt`` readers tell whose line it is.
    """

    attempt: Count | None = None


class AttemptStarted(_Event, frozen=True, tag="attempt_started", kw_only=True):
    """A job began to work on the archive. ``stages`` are those that this attempt makes every batch go through."""

    attempt: Count
    run_id: str | None
    job_id: str | None
    node: str
    version: str
    archive: ArchiveFile
    batch_size: Count
    model: str
    stages: list[Stage]
    after_crash: bool | None = None
    """Whether the process of the attempt before ended by a fault in native code, not by a signal from outside; ``None``
    of versions that could not tell."""


class BatchExtracted(Step, frozen=True, tag="batch_extracted", kw_only=True):
    """Members were read. A ``digest`` other than before means another archive: what was known of the batch is void."""

    batch: Count
    first_ordinal: Count
    members: Count
    digest: str


class RecognitionBegun(Step, frozen=True, tag="recognition_begun", kw_only=True):
    """The recogniser was given the clips of the batch, or, where ``clip`` is an ordinal, that one alone.

    What it was given last, before a journal breaks off, may be what killed the process. So this line tells of
    something that has begun, unlike all the others.
    """

    batch: int
    clip: int | None = None


class ClipTranscribed(_Event, frozen=True, tag="clip", kw_only=True):
    """The record of one member, whatever became of it. Only lines like it stand between it and its BatchTranscribed."""

    batch: Count
    clip: ClipRecord


class BatchTranscribed(Step, frozen=True, tag="batch_transcribed", kw_only=True):
    """Every member of the batch has its record in the lines before.

    ``timing`` tells, here and in AttemptEnded, how the attempt has spent its time until then. Nothing depends on it.
    """

    batch: Count
    stored: Count
    rejected: Count
    skipped: Count
    audio_seconds: float
    timing: Timing | None = None


class BatchRecorded(Step, frozen=True, tag="batch_recorded", kw_only=True):
    """PostgreSQL has committed the rows of the batch."""

    batch: Count


class BatchUploaded(Step, frozen=True, tag="batch_uploaded", kw_only=True):
    """rsync has said 0 for every file of the batch."""

    batch: Count
    destination: str
    files: list[StoredFile]


class BatchConfirmed(Step, frozen=True, tag="batch_confirmed", kw_only=True):
    """PostgreSQL has committed ``file_path`` for the batch."""

    batch: Count


class StageFailed(Step, frozen=True, tag="stage_failed", kw_only=True):
    """A stage was tried and given up; it is owed."""

    batch: Count
    stage: Stage
    error: str


class UploadRevoked(_Event, frozen=True, tag="upload_revoked", kw_only=True):
    """The files of the batch are not at the destination as they were sent, so it owes its upload again.

    ``verify --repair`` found it out, while nobody works on the archive. An attempt that ended as done has not any more.
    """

    batch: Count
    reason: str


class ArchiveRead(Step, frozen=True, tag="archive_read", kw_only=True):
    """The archive was read to its end, or to where it is damaged."""

    batches: Count
    members: Count
    damage: Damage | None = None
    detail: str | None = None


class AttemptEnded(Step, frozen=True, tag="attempt_ended", kw_only=True):
    """The job let the archive go of its own accord. A job that was killed leaves no such line.

    It is the last line of a journal that nobody works on, so that a look at the end of the file tells how that went;
    only UploadRevoked may come behind it.
    """

    attempt: Count
    outcome: Outcome
    damage: Damage | None = None
    error: str | None = None
    exit_code: int | None = None
    """Of an attempt that an error ended."""
    timing: Timing | None = None


Event = (
    AttemptStarted
    | BatchExtracted
    | RecognitionBegun
    | ClipTranscribed
    | BatchTranscribed
    | BatchRecorded
    | BatchUploaded
    | BatchConfirmed
    | StageFailed
    | UploadRevoked
    | ArchiveRead
    | AttemptEnded
)
