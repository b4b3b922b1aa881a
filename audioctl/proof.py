"""What can be proved of a day: that journals, ledger, files and rows say the same of every clip.

``audioctl verify`` tells it, and ``audioctl clean --archives`` deletes nothing without it.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from audioctl.errors import JournalError
from audioctl.ledger.comparison import DayContent, content_of_journals, ledger_differences
from audioctl.ledger.journal import journal_path
from audioctl.ledger.progress import ArchiveProgress
from audioctl.ledger.queries import ArchiveStatus
from audioctl.ledger.transcripts import read_archive
from audioctl.names import day_folder, storage_folder
from audioctl.settings import Settings
from audioctl.states import ArchiveState
from audioctl.storage.listing import fetch, list_remote
from audioctl.storage.ssh import all_ssh_options
from audioctl.verification import (
    Difference,
    ExpectedClip,
    Problem,
    compare_contents,
    compare_files,
    compare_rows,
    examine_journal,
    expected_clips,
)

_AT_WORK = (ArchiveState.SUBMITTED, ArchiveState.RUNNING)
"""These change while we look."""


@dataclass(frozen=True, slots=True)
class DayToProve:
    """The archives of a day as the ledger has them, and all else that the ledger says of them.

    ``slots`` are those that were asked for; none for the whole day, in which nothing may lie that no journal names.
    """

    day: str
    archives: Sequence[ArchiveStatus]
    ledger: DayContent
    slots: Collection[str] = ()

    @property
    def to_look_at(self) -> list[ArchiveStatus]:
        return [archive for archive in self._chosen() if archive.state not in _AT_WORK]

    @property
    def at_work(self) -> list[str]:
        return [archive.slot for archive in self._chosen() if archive.state in _AT_WORK]

    def _chosen(self) -> Iterator[ArchiveStatus]:
        return (archive for archive in self.archives if not self.slots or archive.slot in self.slots)


@dataclass(slots=True)
class Proof:
    """What was found. An archive is proved when it is in ``journals`` and no difference concerns it."""

    day: str
    clips: int = 0
    differences: list[Difference] = field(default_factory=list)
    journals: dict[str, ArchiveProgress] = field(default_factory=dict)
    """By slot, those that could be read."""

    def differences_of(self, slot: str) -> list[Difference]:
        return [difference for difference in self.differences if difference.slot == slot]


def prove_day(wanted: DayToProve, settings: Settings, *, checksum: bool) -> Proof:
    """Look at everything. Raises AudioctlError where something cannot be looked at, which proves nothing."""
    proof = Proof(wanted.day)
    expected = _read_journals(wanted, Path(settings.paths.state_dir), proof)
    proof.clips = len(expected)
    looked_at = proof.journals.keys()
    left_out = {archive.slot for archive in wanted.archives} - looked_at
    proof.differences += _ledger(wanted, Path(settings.paths.state_dir), looked_at)
    upload = settings.upload
    ssh: dict[str, Any] = {
        "ssh_key": Path(upload.ssh_key) if upload.ssh_key else None,
        "ssh_options": all_ssh_options(upload),
    }
    folders = [storage_folder(wanted.day, slot) for slot in sorted(looked_at)]
    if not wanted.slots:
        folders = [day_folder(wanted.day)]
    proof.differences += compare_files(expected, folders, partial(list_remote, **ssh), left_out)
    if checksum:
        proof.differences += compare_contents(expected, partial(fetch, **ssh))
    if settings.database.enabled:
        proof.differences += _rows(wanted, settings, expected, left_out)
    proof.differences.sort(key=lambda difference: difference.slot)
    return proof


def _read_journals(wanted: DayToProve, state_dir: Path, proof: Proof) -> list[ExpectedClip]:
    expected: list[ExpectedClip] = []
    for archive in wanted.to_look_at:
        slot = archive.slot
        try:
            progress, batches = read_archive(journal_path(state_dir, wanted.day, slot))
        except JournalError as error:
            proof.differences.append(Difference(slot, "", Problem.JOURNAL_DAMAGED, error.message, error.hint or ""))
            continue
        proof.journals[slot] = progress
        anew = _how_to_do_anew(state_dir, wanted.day, archive)
        proof.differences += [
            msgspec.structs.replace(found, hint=anew) for found in examine_journal(slot, progress, batches)
        ]
        if archive.state not in (ArchiveState.DONE, ArchiveState.DAMAGED) or not progress.is_complete:
            why = f": {archive.reason}" if archive.reason else ""
            hint = _how_to_finish(wanted.day, archive)
            proof.differences.append(Difference(slot, "", Problem.NOT_FINISHED, f"{archive.state}{why}", hint))
        expected += expected_clips(slot, batches.values())
    return expected


def _how_to_finish(day: str, archive: ArchiveStatus) -> str:
    match archive.state:
        case ArchiveState.FAILED:
            return f"audioctl resume {day}"
        case ArchiveState.CANCELLED | ArchiveState.PENDING:
            return f"audioctl submit-day {day}"
        case _:
            # Its journal once said that all is done, and resume believes that.
            return shlex.join(["audioctl", "process-tar", day, archive.path, archive.slot])


def _how_to_do_anew(state_dir: Path, day: str, archive: ArchiveStatus) -> str:
    journal = str(journal_path(state_dir, day, archive.slot))
    aside = shlex.join(["mv", journal, f"{journal}.damaged"])
    submit = shlex.join(["audioctl", "submit-tar", day, archive.path, archive.slot])
    return f"bring the journal back from a backup, or do the archive anew: {aside} && {submit}"


def _ledger(wanted: DayToProve, state_dir: Path, looked_at: Collection[str]) -> Iterator[Difference]:
    for slot, words in ledger_differences(wanted.ledger, content_of_journals(state_dir, wanted.day)):
        if slot in looked_at:
            yield Difference(slot, "", Problem.LEDGER, words)


def _rows(
    wanted: DayToProve, settings: Settings, expected: Sequence[ExpectedClip], left_out: Collection[str]
) -> list[Difference]:
    from audioctl.database.connection import connect
    from audioctl.database.rows import read_day

    with connect(service=settings.database.service, application_name="audioctl/verify") as connection:
        rows = (
            row
            for row in read_day(connection, wanted.day)
            if row.slot not in left_out and (not wanted.slots or row.slot in wanted.slots)
        )
        return list(compare_rows(wanted.day, expected, rows))
