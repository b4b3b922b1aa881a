"""What must hold when days are done, whatever went wrong meanwhile: every clip once, and nothing left lying about."""

from __future__ import annotations

import io
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
import psycopg

from audioctl.clips import SAMPLE_RATE
from audioctl.ledger.comparison import DayContent, day_content
from audioctl.ledger.journal import journal_path
from audioctl.ledger.models import open_ledger
from audioctl.names import storage_path
from audioctl.states import ExitCode
from audioctl.verification import Problem
from benchmarks.long_load.clips import hear_number, member_name, number_of
from benchmarks.long_load.day import NOTHING_TO_DO, LoadedArchive
from benchmarks.long_load.site import Site, command_line

_PATIENCE_SECONDS = 120.0
"""ssh connections of killed jobs close themselves after a minute."""

_HEARD_FILES = 5000
"""Of the stored files, at most, that are listened to."""

_ROWS = """
select to_char(make_date(year, month, date), 'YYYY-MM-DD'), slot, member, transcript_text, file_path, file_size_bytes
  from audio_files left join transcripts on audio_files.id = audio_file_id
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``troubles`` are sentences; empty when everything holds.

    ``cut_uploads`` are temporary files of rsyncs that were killed on the storage server: ``verify`` names them, nothing
    but a person deletes there.
    """

    clips: int
    lost: int
    doubled: int
    heard_files: int
    cut_uploads: int
    troubles: list[str]

    @property
    def summary(self) -> str:
        return (
            f"{self.clips:,} clips: lost {self.lost:,}, doubled {self.doubled:,}, other troubles {self.others:,}; "
            f"{self.cut_uploads} temporary files of rsyncs killed on the server"
        )

    @property
    def others(self) -> int:
        return len(self.troubles)


def prove(site: Site, archives: Sequence[LoadedArchive]) -> Verdict:
    """Of all ``archives`` that the site ever worked on."""
    days = sorted({archive.day for archive in archives})
    differences = [difference for day in days for difference in _verify(site, day)]
    cut_uploads = sum(difference["problem"] == Problem.FILE_CUT_OFF for difference in differences)
    troubles = list(
        chain(
            *(_nothing_left_to_do(site, day, archives) for day in days),
            (f"verify: {found}" for found in differences if found["problem"] != Problem.FILE_CUT_OFF),
            _ledger_is_what_journals_say(site, days),
            _nothing_is_left(site),
        )
    )
    said = {
        (archive.day, archive.slot, member_name(clip)): number_of(archive.number, clip)
        for archive in archives
        for clip in range(archive.clips)
    }
    with psycopg.connect(site.database) as connection:
        rows = connection.execute(_ROWS).fetchall()
    found = Counter((day, slot, member) for day, slot, member, *_ in rows)
    for day, slot, member, text, path, size in rows:
        where = f"{day} {slot} {member}"
        if text != said.get((day, slot, member)):
            troubles.append(f"{where} says {text!r}, not {said.get((day, slot, member))!r}")
        expected = site.storage / storage_path(day, slot, member)
        if path is None or not path.endswith(str(expected)):
            troubles.append(f"{where} lies in {path}, not in {expected}")
        elif not expected.exists() or expected.stat().st_size != size:
            troubles.append(f"{expected} is not there, or has not {size} bytes")
    stored = sum(path.is_file() for path in site.storage.rglob("*")) - cut_uploads
    if stored != len(said):
        troubles.append(f"{stored:,} files are stored, not {len(said):,}")
    step = -(-len(said) // _HEARD_FILES)
    listened_to = list(said)[::step]
    for clip in listened_to:
        heard = _hear(site.storage / storage_path(*clip))
        if heard != said[clip]:
            troubles.append(f"the file of {clip} says {heard!r}, not {said[clip]!r}")
    return Verdict(
        clips=len(said),
        lost=len(said.keys() - found.keys()),
        doubled=sum(count - 1 for count in found.values()) + len(found.keys() - said.keys()),
        heard_files=len(listened_to),
        cut_uploads=cut_uploads,
        troubles=troubles,
    )


def _nothing_left_to_do(site: Site, day: str, archives: Sequence[LoadedArchive]) -> Iterator[str]:
    journals = [journal_path(site.state, day, archive.slot) for archive in archives if archive.day == day]
    before = [journal.read_bytes() for journal in journals]
    told = site.audioctl("resume", day)
    if NOTHING_TO_DO not in told:
        yield f"another resume of {day} did something: {told}"
    if [journal.read_bytes() for journal in journals] != before:
        yield f"another resume changed journals of {day}"


def _verify(site: Site, day: str) -> list[dict[str, str]]:
    process = site.start("verify", day, "--json", stderr=subprocess.DEVNULL)
    told, _ = process.communicate()
    assert process.returncode in (ExitCode.DONE, ExitCode.LOOK), process.returncode
    differences: list[dict[str, str]] = json.loads(told)["differences"]
    return differences


def _ledger_is_what_journals_say(site: Site, days: Sequence[str]) -> Iterator[str]:
    before = _ledger(site, days)
    site.audioctl("ledger", "rebuild")
    for known, anew, day in zip(before, _ledger(site, days), days, strict=True):
        if known != anew:
            yield f"the ledger of {day} is not what one made anew is"


def _ledger(site: Site, days: Sequence[str]) -> list[DayContent]:
    with open_ledger(site.state):
        return [day_content(day) for day in days]


def _nothing_is_left(site: Site) -> Iterator[str]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := site.processes()) and time.monotonic() < deadline:
        time.sleep(1)
    if left:
        yield f"processes are left: {[' '.join(command_line(process)) for process in left]}"
    for folder in (site.scratch, site.temporary):
        if entries := sorted(path.name for path in folder.iterdir()):
            yield f"{folder.name} is not empty: {len(entries)} entries, the first is {entries[0]}"


def _hear(path: Path) -> str:
    """What an Opus copy says."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(io.BytesIO(path.read_bytes()), "r") as container:
        parts = [
            part.to_ndarray()[0]
            for frame in chain(container.decode(container.streams.audio[0]), [None])
            for part in resampler.resample(frame)
        ]
    return hear_number(np.concatenate(parts))
