"""What ``--json`` prints, as types: one for each command. docs/schemas is made from them, and a test holds what the
commands really print against it. Where the program has a type of its own, it is that one."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from audioctl.bounds import Part, PartTime
from audioctl.clips import ClipRecord
from audioctl.doctor.findings import Finding
from audioctl.ledger.queries import DayStatus
from audioctl.repair import Fate
from audioctl.reporting.clips import DoubtfulClip, RejectedClip
from audioctl.reporting.costs import Costs
from audioctl.reporting.history import AttemptEnd
from audioctl.reporting.troubles import Trouble
from audioctl.settings import Settings
from audioctl.states import ArchiveState, Flag, Reason
from audioctl.verification import Problem

Version = Literal[1]


class SubmittedRun(Struct):
    """One run a day."""

    run_id: str
    day: str
    folder: str
    """With its scripts, its frozen settings and its logs."""


class SubmittedArchive(Struct):
    day: str
    slot: str
    path: str
    submitted: bool
    """With ``--dry-run``: whether it would be."""
    job_id: str | None
    """That works on it, or is to."""
    why: str
    """In words: why it is, or is not."""


class Submission(Struct):
    """``submit-day``, ``submit-tar`` and ``resume``: what was submitted, or would be."""

    schema: Version
    runs: list[SubmittedRun]
    archives: list[SubmittedArchive]


class ProcessedArchive(Struct):
    """``process-tar``: how the archive stands now. Its counts are of all attempts, its seconds of this one."""

    schema: Version
    day: str
    slot: str
    state: ArchiveState
    reason: str | None
    error: str | None
    attempt: int
    clips: int
    stored: int
    rejected: int
    skipped: int
    audio_seconds: float
    owed_record: int
    owed_upload: int
    elapsed_seconds: float
    first_transcript_seconds: float | None
    transcribe_busy_seconds: float


class Bound(Struct):
    """What bounds a run. ``settings`` are those that the advice names."""

    part: Part
    evidence: str
    advice: str
    settings: list[str]


class WhySlow(Struct):
    """Where the time went. ``parts`` share out ``elapsed_seconds``."""

    archives: int
    batches: int
    clips: int
    audio_seconds: float
    elapsed_seconds: float
    parts: list[PartTime]
    bound: Bound


class StatusOfDay(DayStatus):
    """``why_slow`` is there with ``--why-slow``; it is null where no journal tells yet."""

    why_slow: WhySlow | UnsetType | None = UNSET


class Status(Struct):
    """``status``. With ``--watch`` it is a line whenever something has changed, of several days without archives."""

    schema: Version
    generated_at: str
    days: list[StatusOfDay]


class SearchHit(Struct):
    """``slot`` and ``member`` are null for a row of PostgreSQL that is older than this program."""

    day: str
    slot: str | None
    member: str | None
    filename: str
    snippet: str


class SearchHits(Struct):
    """``search``: newest first."""

    schema: Version
    hits: list[SearchHit]


class VerifiedDifference(Struct):
    """``member`` is empty where it is about a whole archive. ``repair`` and ``next`` are there with ``--repair``."""

    day: str
    slot: str
    member: str
    problem: Problem
    detail: str
    repair: Fate | UnsetType = UNSET
    next: str | UnsetType | None = UNSET


class Verification(Struct):
    """``verify``. ``dry_run`` is there with ``--repair``."""

    schema: Version
    clips: int
    differences: list[VerifiedDifference]
    dry_run: bool | UnsetType = UNSET


class Leftover(Struct):
    """A folder that a dead job left on scratch."""

    path: str
    size_bytes: int


class CleanedArchive(Struct):
    """``kept`` is why it was not deleted, or would not be; null for what was, or would be."""

    day: str
    slot: str
    path: str
    size_bytes: int
    rejected: int
    deleted: bool
    kept: str | None


class Cleaning(Struct):
    """``clean``. ``archives`` is empty without ``--archives``."""

    schema: Version
    scratch: list[Leftover]
    archives: list[CleanedArchive]


class Diagnosis(Struct):
    """``doctor``. ``clock_ahead_seconds`` is of the machine's clock against the file server's of the state folder."""

    schema: Version
    machine: str
    findings: list[Finding]
    clock_ahead_seconds: float | None


class WayToHear(Struct):
    """Settings of ``[transcribe]``."""

    window: str
    beam_size: int
    window_batch_size: int
    compute_type: str


class DifferentText(Struct):
    member: str
    reference: str
    here: str


class MeasuredWay(Struct):
    """``failed`` says why it could not be measured. ``differences`` is there with ``--differences``."""

    settings: WayToHear
    is_reference: bool
    is_configured: bool
    computed_with: str | None
    windows_at_once: int | None
    failed: str | None
    seconds: list[float]
    times_real_time: float | None
    agreement: float | None
    """Share of the words that are as in the reference."""
    clips_differing: int | None
    differences: list[DifferentText] | UnsetType = UNSET


class TuningSample(Struct):
    clips: int
    drawn_from_members: int
    audio_seconds: float
    speech_seconds: float
    words: int
    damage: str | None


class Recommendation(Struct):
    same_words: WayToHear
    nearly_the_same_words: WayToHear | None


class TuningResult(Struct):
    """``tune``. ``recommended`` is null where nobody says a word in the sample."""

    schema: Version
    archive: str
    model: str
    device: str
    machine: str
    ended_early: bool
    sample: TuningSample
    measured: list[MeasuredWay]
    left_out: list[WayToHear]
    recommended: Recommendation | None


class ShownSettings(Struct):
    """``config show``. ``origins`` says where each value comes from, by ``section.key``."""

    schema: Version
    settings: Settings
    origins: dict[str, str]


class SettingsFile(Struct):
    path: str
    exists: bool


class SettingsFiles(Struct):
    """``config path``: first the file that wins."""

    schema: Version
    files: list[SettingsFile]


class DatabaseCheck(Struct):
    """``db check``: a sentence for each difference from the schema that is needed."""

    schema: Version
    differences: list[str]


class ReportedAttempt(Struct):
    """``until`` is the time of its last word so far."""

    slot: str
    number: int
    node: str
    run_id: str | None
    job_id: str | None
    began: str
    until: str
    end: AttemptEnd


class Stretch(Struct):
    """A stretch of a day's time. What the day has nothing for, such as a database, is left out."""

    start: str
    end: str
    real_time: float | UnsetType = UNSET
    """Seconds of audio transcribed in a second; all jobs together."""
    clips_per_second: float | UnsetType = UNSET
    read: int | UnsetType = UNSET
    """Members, until the end of the stretch, as the next one."""
    transcribed: int | UnsetType = UNSET
    recorded: int | UnsetType = UNSET
    """Clips, as the next one."""
    uploaded: int | UnsetType = UNSET
    waiting_recogniser: int | UnsetType = UNSET
    waiting_record: int | UnsetType = UNSET
    waiting_upload: int | UnsetType = UNSET


class ClipsOfLength(Struct):
    """Those below so many seconds, and not in the class before; null is the last class, without an end."""

    below_seconds: float | None
    clips: int


class ClipsOfLanguage(Struct):
    """``language`` is null where nobody speaks."""

    language: str | None
    clips: int
    audio_seconds: float


class ReportedClips(Struct):
    lengths: list[ClipsOfLength]
    languages: list[ClipsOfLanguage]
    flags: dict[Flag, int]
    rejected: dict[Reason, int]
    skipped: dict[Reason, int]
    first_rejected: list[RejectedClip]
    doubtful_clips: int
    most_doubtful: list[DoubtfulClip]


class ReportOfDay(DayStatus, kw_only=True):
    is_interim: bool
    work_seconds: float
    attempts: list[ReportedAttempt]
    series: list[Stretch]
    clips: ReportedClips
    why_slow: WhySlow | None
    costs: Costs
    to_see_to: list[Trouble]
    unreadable_journals: list[str]


class DayReports(Struct):
    """``report``: the figures of its page."""

    schema: Version
    generated_at: str
    days: list[ReportOfDay]


_PLACE = [("day", str), ("slot", str)]
_OF_RECORD = [(field.name, field.type) for field in msgspec.structs.fields(ClipRecord) if field.name != "storage_path"]

Clip = msgspec.defstruct(
    "Clip",
    [*_PLACE, *_OF_RECORD, ("file_path", str | None)],
    namespace={"__doc__": "``export``: a line of ``--format jsonl``, an element of ``--format json``."},
)

DOCUMENTS: dict[str, type] = {
    "submit-day": Submission,
    "submit-tar": Submission,
    "resume": Submission,
    "process-tar": ProcessedArchive,
    "status": Status,
    "export": Clip,
    "search": SearchHits,
    "report": DayReports,
    "verify": Verification,
    "clean": Cleaning,
    "doctor": Diagnosis,
    "tune": TuningResult,
    "config show": ShownSettings,
    "config path": SettingsFiles,
    "db check": DatabaseCheck,
}
"""By the command that prints it."""
