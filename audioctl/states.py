"""Every state and reason, spelled once. The values are what the journal, the ledger and ``--json`` carry."""

from enum import IntEnum, StrEnum


class ArchiveState(StrEnum):
    """Where one archive stands. A job that has gone without finishing its journal is ``FAILED``."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    DAMAGED = "damaged"
    FAILED = "failed"
    CANCELLED = "cancelled"


WANTS_A_LOOK = (ArchiveState.FAILED, ArchiveState.DAMAGED)


class Stage(StrEnum):
    """What has to happen to a batch, in order. ``RECORD`` and ``CONFIRM`` only where a database is configured."""

    EXTRACT = "extract"
    TRANSCRIBE = "transcribe"
    RECORD = "record"
    UPLOAD = "upload"
    CONFIRM = "confirm"


class StageState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ClipState(StrEnum):
    """What became of a member."""

    STORED = "stored"
    REJECTED = "rejected"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a member is not stored, or why a stored clip has no text."""

    # rejected clips
    EMPTY = "empty"
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"
    UNSAFE_NAME = "unsafe_name"
    CRASHED_DECODER = "crashed_decoder"
    CRASHED_RECOGNISER = "crashed_recogniser"
    # skipped members
    NOT_AUDIO = "not_audio"
    NOT_A_FILE = "not_a_file"
    # a stored clip with an empty text
    NO_SPEECH = "no_speech"


class Flag(StrEnum):
    """What a reader of a transcript should know about it."""

    NO_SPEECH = "no_speech"
    REPETITIVE = "repetitive"
    LOW_CONFIDENCE = "low_confidence"
    TRUNCATED = "truncated"


class Damage(StrEnum):
    """What is wrong with an archive whose readable head was kept."""

    EMPTY = "empty"
    NOT_AN_ARCHIVE = "not_an_archive"
    CUT_OFF = "cut_off"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    """A limit was reached, behind which there may be no end."""


class Outcome(StrEnum):
    """How one attempt at an archive ended."""

    DONE = "done"
    OWED = "owed"
    DRAINED = "drained"
    FAILED = "failed"


class ExitCode(IntEnum):
    """What ``audioctl`` tells the shell. 75 is EX_TEMPFAIL of sysexits.h: run me again."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    LOOK = 3
    CONFIGURATION = 4
    DRAINED = 75
