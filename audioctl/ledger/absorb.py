"""Bringing the ledger up to date with the runs and the journals.

A look costs what is new: journals are read on from the byte where the last look stopped, and a day whose folders
have not changed and in which nothing may still happen is not looked at. (A job makes and removes its lease in the
journals' folder, and a run comes into being in the runs' folder; either changes the folder's modification time.)
Whoever runs the jobs is asked at most once a look, about those jobs only on which the state of an archive depends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from peewee import SqliteDatabase

from audioctl.errors import JournalError, NewerJournalError
from audioctl.failpoints import failpoint
from audioctl.jobs import UNKNOWN, JobPhase, JobStatus, LookAtJobs
from audioctl.ledger.absorb_journal import absorb_journal, forget
from audioctl.ledger.journal import journal_path
from audioctl.ledger.models import ArchiveRow, DayRow, open_ledger
from audioctl.ledger.progress import DAMAGED_JOURNAL, NEWER_JOURNAL
from audioctl.ledger.verdict import Standing, Submission, Values, by_job, by_journal, standing
from audioctl.runs import Run, is_cancelled, run_folder, runs_of_day
from audioctl.states import ArchiveState

_SETTLED_SECONDS = 10.0
"""A folder that changed this lately may change again within the same tick of its clock; it is looked at again."""

_NO_FOLDERS = (0, 0)
_NOT_SETTLED = (-1, -1)
"""Times that no folder has, not even one that is gone."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d")

_LIVE = (ArchiveState.SUBMITTED, ArchiveState.RUNNING)


class _Question(NamedTuple):
    """An archive whose state depends on its job."""

    day: str
    slot: str
    submission: Submission


def refresh(
    database: SqliteDatabase, state_dir: Path, look_at_jobs: LookAtJobs, days: Collection[str] | None = None
) -> None:
    """Absorb what is new of these days, or of every day; then ask about the jobs that it depends on."""
    seen = {row.day: (row.journals_mtime_ns, row.runs_mtime_ns) for row in DayRow.select()}
    restless = {row.day for row in ArchiveRow.select(ArchiveRow.day).where(ArchiveRow.is_restless == 1).distinct()}
    questions: list[_Question] = []
    for day in sorted(_days(state_dir) | seen.keys() if days is None else days):
        folders = _mtime_ns(state_dir / "journals" / day), _mtime_ns(state_dir / "runs" / day)
        if day not in restless and seen.get(day, _NO_FOLDERS) == folders:
            continue
        is_settled = time.time() - max(folders) / 1e9 > _SETTLED_SECONDS
        journals, runs = folders if is_settled else _NOT_SETTLED
        with database.atomic("IMMEDIATE"):
            questions += _absorb_day(state_dir, day)
            failpoint("ledger.absorb")
            if seen.get(day) != (journals, runs):
                DayRow.replace(day=day, journals_mtime_ns=journals, runs_mtime_ns=runs).execute()
    if questions:
        _answer(database, state_dir, questions, look_at_jobs)


def forget_archives(state_dir: Path, day: str, slots: Collection[str]) -> None:
    """Whatever the ledger says of them; the next look reads it from their journals."""
    with open_ledger(state_dir) as database, database.atomic("IMMEDIATE"):
        for slot in slots:
            forget(day, slot)
        DayRow.delete().where(DayRow.day == day).execute()


def _absorb_day(state_dir: Path, day: str) -> list[_Question]:
    """Absorb the runs and journals of one day; what they leave open."""
    rows = _rows(day)
    submissions = _submissions(state_dir, day)
    on_disk = submissions.keys() | _journal_slots(state_dir, day)
    for slot in rows.keys() - on_disk:
        forget(day, slot)
    questions = []
    for slot in sorted(on_disk):
        submission = submissions.get(slot)
        before = rows.get(slot) or ArchiveRow(day=day, slot=slot)
        if _refresh_archive(before, state_dir, submission, None) and submission is not None:
            questions.append(_Question(day, slot, submission))
    return questions


def _answer(
    database: SqliteDatabase, state_dir: Path, questions: Sequence[_Question], look_at_jobs: LookAtJobs
) -> None:
    statuses = look_at_jobs(_with_these_archives_only(questions))
    with database.atomic("IMMEDIATE"):
        rows = {day: _rows(day) for day in {question.day for question in questions}}
        for day, slot, submission in questions:
            row = rows[day].get(slot) or ArchiveRow(day=day, slot=slot)
            status = statuses.get((submission.run.run_id, slot), UNKNOWN)
            _refresh_archive(row, state_dir, submission, status)


def _with_these_archives_only(questions: Sequence[_Question]) -> list[Run]:
    """Their runs without the archives that nothing is asked about: how their jobs ended need not be looked up."""
    runs: dict[str, Run] = {}
    for _, _, (run, archive, _) in questions:
        known = runs.get(run.run_id)
        archives = [*known.archives, archive] if known else [archive]
        runs[run.run_id] = msgspec.structs.replace(run, archives=archives)
    return list(runs.values())


def _refresh_archive(
    known: ArchiveRow, state_dir: Path, submission: Submission | None, status: JobStatus | None
) -> bool:
    """Bring one row up to date; whether it depends on a job of which nothing (final) is known yet.

    The journal is read first, also where there is an answer about the job: a job that has gone has written its last
    line before.
    """
    row = ArchiveRow(**known.__data__)
    journal = journal_path(state_dir, row.day, row.slot)
    try:
        absorb_journal(row, journal)
        found = standing(row, journal, submission)
        # The last line comes before the lease goes. So what looks broken off is looked at again before it is told.
        while found is not None and found.is_broken_off and absorb_journal(row, journal):
            found = standing(row, journal, submission)
    except JournalError as error:
        # One archive's trouble, which must not hide all the others.
        _set(row, _unreadable_journal(error) | {"question": None, "is_restless": 1})
        _save(known, row)
        return False
    if found is None:
        forget(row.day, row.slot)
        return False
    _set(row, _values(row, found, status))
    _save(known, row)
    return row.question is not None and not row.is_answered


def _values(row: ArchiveRow, found: Standing, status: JobStatus | None) -> Values:
    question = found.question
    if question is None:
        values = by_journal(found)
        restless = values["state"] in _LIVE or found.is_broken_off
        return values | {"question": None, "is_answered": 0, "is_restless": int(restless)}
    if question == row.question and (row.is_answered or status is None or status.phase is JobPhase.UNKNOWN):
        return {}
    values = by_job(found, status or UNKNOWN)
    if values.get("job_id") is None and row.run_id == values["run_id"]:
        values["job_id"] = row.job_id
    is_answered = status is not None and status.is_final
    # A job that was given up for lost may come back, on a node that was frozen.
    restless = not is_answered or found.is_broken_off
    return values | {"question": question, "is_answered": int(is_answered), "is_restless": int(restless)}


def _unreadable_journal(error: JournalError) -> Values:
    reason = NEWER_JOURNAL if isinstance(error, NewerJournalError) else DAMAGED_JOURNAL
    message = error.message + (f" {error.hint}" if error.hint else "")
    return {"state": ArchiveState.FAILED, "reason": reason, "error": message}


def _rows(day: str) -> dict[str, ArchiveRow]:
    """By slot."""
    return {row.slot: row for row in ArchiveRow.select().where(ArchiveRow.day == day)}


def _set(row: ArchiveRow, values: Values) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _save(before: ArchiveRow, row: ArchiveRow) -> None:
    if row.__data__ != before.__data__:
        ArchiveRow.replace(**row.__data__).execute()


def _submissions(state_dir: Path, day: str) -> dict[str, Submission]:
    """The newest of each slot."""
    submissions: dict[str, Submission] = {}
    for run in runs_of_day(state_dir, day):
        cancelled = is_cancelled(run_folder(state_dir, run))
        submissions |= {archive.slot: Submission(run, archive, cancelled) for archive in run.archives}
    return submissions


def _days(state_dir: Path) -> set[str]:
    return {name for kind in ("journals", "runs") for name in _names(state_dir / kind) if _DAY.fullmatch(name)}


def _journal_slots(state_dir: Path, day: str) -> set[str]:
    return {name.removesuffix(".jsonl") for name in _names(state_dir / "journals" / day) if name.endswith(".jsonl")}


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def _mtime_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
