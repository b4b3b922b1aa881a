"""Putting right what a proof (``audioctl.proof``) found wrong, from what is there.

Rows are written again from the journals, and the ledger is made anew from them. A file cannot be made here: its batch
owes its upload again (``UploadRevoked``), and ``audioctl resume`` makes the files of that batch anew from the archive.
What only a person can judge, what a journal itself has wrong, and what is being worked on is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from audioctl.archives import archive_identity
from audioctl.clock import utc_now
from audioctl.database.keys import member_key
from audioctl.database.rows import Confirmation
from audioctl.errors import ArchiveBusyError, ArchiveUnreadableError, RecordError
from audioctl.ledger.absorb import forget_archives
from audioctl.ledger.events import UploadRevoked
from audioctl.ledger.journal import JournalWriter, journal_path
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.progress import ArchiveProgress, read_progress
from audioctl.ledger.transcripts import BatchTranscripts, read_archive
from audioctl.proof import Proof
from audioctl.settings import Settings
from audioctl.states import Outcome
from audioctl.verification import Difference, ExpectedClip, Problem, expected_clips

_OF_JOURNALS = {Problem.JOURNAL_DAMAGED, Problem.JOURNAL_INCOMPLETE, Problem.CLIP_DOUBLED}
_OF_FILES = {Problem.FILE_MISSING, Problem.FILE_SIZE, Problem.FILE_CONTENT, Problem.NOT_UPLOADED}
_OF_ROWS = {problem for problem in Problem if problem.name.startswith("ROW_")} - {Problem.ROW_UNKNOWN}
_OF_WHAT_IS_OWED = {Problem.NOT_FINISHED, Problem.NOT_UPLOADED}


class Fate(StrEnum):
    """What becomes of a difference. The values are what ``verify --json`` carries."""

    RIGHT = "put_right"
    OWED = "owed"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Answer:
    """``next`` is what a person has to type or to see to, where it is not put right."""

    difference: Difference
    fate: Fate
    next: str = ""

    @property
    def is_right(self) -> bool:
        return self.fate is Fate.RIGHT

    @property
    def key(self) -> tuple[str, str, Problem]:
        return _key(self.difference)


@dataclass(slots=True)
class _Plan:
    """What can be put right of one archive."""

    answers: list[Answer] = field(default_factory=list)
    rows: dict[str, tuple[int, ExpectedClip]] = field(default_factory=dict)
    """By key, the clips whose rows are to be written again, with their batches."""
    doubled: set[str] = field(default_factory=set)
    """Keys of those of them that have several rows."""
    revoked: dict[int, Counter[Problem]] = field(default_factory=dict)
    """By batch, what is wrong with its files."""

    def leave(self, problems: Collection[Problem], why: str, keys: Collection[str] | None = None) -> None:
        """These stay as they are after all, of all members or of those with these keys."""
        self.answers = [
            Answer(answer.difference, Fate.LEFT, why)
            if answer.difference.problem in problems and (keys is None or member_key(answer.difference.member) in keys)
            else answer
            for answer in self.answers
        ]


def repair_day(proof: Proof, settings: Settings, *, dry_run: bool) -> list[Answer]:
    """Put right what can be; what becomes of each difference. A dry run tells the same and changes nothing.

    Raises AudioctlError where the database or the state folder cannot be reached; it can be run again.
    """
    answers: list[Answer] = []
    for slot in sorted({difference.slot for difference in proof.differences}):
        differences = proof.differences_of(slot)
        if slot not in proof.journals or any(one.problem in _OF_JOURNALS for one in differences):
            answers += [_without_journal(one) for one in differences]
        else:
            answers += _repair_archive(slot, proof, settings, dry_run=dry_run)
    wrong = {one.difference.slot for one in answers if one.difference.problem is Problem.LEDGER}
    if wrong and not dry_run:
        forget_archives(Path(settings.paths.state_dir), proof.day, wrong)
    return answers


def look_again(answers: Sequence[Answer], proof: Proof) -> list[Answer]:
    """The answers in the light of a proof that was made after the repair."""
    still = {_key(difference) for difference in proof.differences}
    known = {answer.key for answer in answers}
    owing = {answer.difference.slot for answer in answers if answer.fate is Fate.OWED}
    new = [
        Answer(difference, Fate.LEFT, difference.hint)
        for difference in proof.differences
        if _key(difference) not in known and not (difference.slot in owing and difference.problem in _OF_WHAT_IS_OWED)
    ]
    return [_seen_again(answer, is_there=answer.key in still) for answer in answers] + new


def _seen_again(answer: Answer, *, is_there: bool) -> Answer:
    if answer.is_right and is_there:
        return Answer(answer.difference, Fate.LEFT, "was put right and is so again: does anything else change it?")
    if answer.fate is Fate.LEFT and not is_there:
        return Answer(answer.difference, Fate.RIGHT)  # it came of another, as a wrong state comes of a wrong ledger
    return answer


def _without_journal(difference: Difference) -> Answer:
    """Nobody knows how the rest should be, where a journal cannot be believed."""
    if difference.problem is Problem.LEDGER:
        return Answer(difference, Fate.RIGHT)
    return Answer(difference, Fate.LEFT, difference.hint or "see to its journal first")


def _repair_archive(slot: str, proof: Proof, settings: Settings, *, dry_run: bool) -> list[Answer]:
    journal = journal_path(Path(settings.paths.state_dir), proof.day, slot)
    progress, batches = read_archive(journal)
    meanwhile = f"a job has worked on it meanwhile: audioctl verify {proof.day}"
    if progress != proof.journals[slot]:
        return [Answer(difference, Fate.LEFT, meanwhile) for difference in proof.differences_of(slot)]
    plan = _plan(proof, slot, progress, batches)
    if dry_run or not (plan.rows or plan.revoked):
        return plan.answers
    try:
        with Lease.acquire(lease_path(journal), run_id=None, job_id=None) as lease:
            if read_progress(journal) == progress:
                _write_rows(proof.day, slot, plan, settings)
                _revoke(journal, lease, plan)
            else:
                plan.leave(_OF_FILES | _OF_ROWS, meanwhile)
    except ArchiveBusyError as busy:
        plan.leave(_OF_FILES | _OF_ROWS, busy.message)
    return plan.answers


def _plan(proof: Proof, slot: str, progress: ArchiveProgress, batches: Mapping[int, BatchTranscripts]) -> _Plan:
    found = {
        member_key(clip.clip.member): (index, clip)
        for index, batch in batches.items()
        for clip in expected_clips(slot, [batch])
    }
    plan = _Plan()
    resume = f"audioctl resume {proof.day}"
    why_not = _why_no_upload(progress, resume)
    for one in proof.differences_of(slot):
        key = member_key(one.member)
        if one.problem is Problem.LEDGER:
            plan.answers.append(Answer(one, Fate.RIGHT))
        elif one.problem in _OF_ROWS:
            plan.answers.append(Answer(one, Fate.RIGHT))
            plan.rows[key] = found[key]
            if one.problem is Problem.ROW_DOUBLED:
                plan.doubled.add(key)
        elif one.problem in _OF_FILES and why_not is not None:
            plan.answers.append(Answer(one, Fate.LEFT, why_not))
        elif one.problem in _OF_FILES:
            plan.answers.append(Answer(one, Fate.OWED, resume))
            if one.problem is not Problem.NOT_UPLOADED or _ended(progress, Outcome.DONE):
                plan.revoked.setdefault(found[key][0], Counter())[one.problem] += 1
        else:
            plan.answers.append(Answer(one, Fate.LEFT, one.hint))
    if any(answer.fate is Fate.OWED for answer in plan.answers):
        plan.answers = [
            replace(answer, fate=Fate.OWED, next=resume)
            if answer.difference.problem is Problem.NOT_FINISHED
            else answer
            for answer in plan.answers
        ]
    return plan


def _why_no_upload(progress: ArchiveProgress, resume: str) -> str | None:
    """Why the files of an archive cannot be owed again, if so."""
    if progress.attempt is None or not _ended(progress, Outcome.DONE, Outcome.OWED):
        return f"{resume}, and then --repair again"
    read = progress.attempt.archive
    try:
        identity = archive_identity(Path(read.path))
    except ArchiveUnreadableError:
        return f"cannot be made again without {read.path}; its transcript is kept"
    if identity != (read.size_bytes, read.mtime_ns):
        return f"cannot be made again: {read.path} has changed since it was read; its transcript is kept"
    return None


def _ended(progress: ArchiveProgress, *outcomes: Outcome) -> bool:
    return progress.ended is not None and progress.ended.outcome in outcomes


def _write_rows(day: str, slot: str, plan: _Plan, settings: Settings) -> None:
    if not plan.rows:
        return
    from audioctl.database.connection import RecordRefusedError, connect
    from audioctl.database.rewriting import remove_doubles, rewrite_rows

    with connect(service=settings.database.service, application_name="audioctl/verify") as connection:
        doubled: Collection[str] = plan.doubled
        if doubled:
            why = "they differ, or are referred to, in a way that audioctl cannot judge: look at them in psql"
            try:
                doubled = remove_doubles(connection, day, slot, sorted(doubled))
            except RecordRefusedError as refused:
                why = _in_one_line(refused)
            plan.leave(_OF_ROWS, why, doubled)
        chosen = {key: found for key, found in plan.rows.items() if key not in doubled}
        clips = [clip.clip for _, clip in chosen.values()]
        arrived = _confirmations(clip for batch, clip in chosen.values() if batch not in plan.revoked)
        try:
            rewrite_rows(connection, day, slot, clips, arrived)
        except RecordRefusedError as refused:
            plan.leave(_OF_ROWS, _in_one_line(refused))


def _confirmations(clips: Iterable[ExpectedClip]) -> list[Confirmation]:
    return [
        Confirmation(clip.clip.member, clip.destination.file_path(clip.file.path), clip.file.size_bytes)
        for clip in clips
        if clip.destination is not None and clip.file is not None
    ]


def _revoke(journal: Path, lease: Lease, plan: _Plan) -> None:
    events = [
        UploadRevoked(at=utc_now(), batch=batch, reason=f"verify found: {_in_words(problems)}")
        for batch, problems in sorted(plan.revoked.items())
    ]
    if events:
        with JournalWriter(journal, lease) as writer:
            writer.append(*events)


def _in_words(problems: Counter[Problem]) -> str:
    return ", ".join(f"{problem} ({count})" for problem, count in problems.items())


def _in_one_line(error: RecordError) -> str:
    return f"{error.message} {error.hint}" if error.hint else error.message


def _key(difference: Difference) -> tuple[str, str, Problem]:
    return difference.slot, difference.member, difference.problem
