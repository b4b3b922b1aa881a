"""What is done to a job, drawn from a seed: which archive, which surroundings, and what goes wrong when.

Everything about a trial is in its ``Scenario``; one that once found a mistake is in ``found.json`` and tried for ever.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec


class Way(StrEnum):
    """How the work is started."""

    PROCESS = "process-tar"
    SUBMIT = "submit-day"


class Storage(StrEnum):
    FOLDER = "folder"
    SSH = "ssh"


class Fault(msgspec.Struct, frozen=True):
    """At the ``hit``-th time that a process gets to ``point``, ``action`` happens."""

    point: str
    hit: int
    action: str

    def __str__(self) -> str:
        return f"{self.action} at {self.point}, time {self.hit}"


class Scenario(msgspec.Struct, frozen=True):
    clips: int
    batch_size: int
    suffix: str
    """Of the archive: how it is compressed."""
    bad_members: bool
    spool: bool
    """Members go to scratch."""
    storage: Storage
    database: bool
    way: Way
    faults: list[Fault]
    """One for each time that the work is started; one more time it is started without."""

    def __str__(self) -> str:
        members = f"{self.clips} clips in batches of {self.batch_size}"
        others = [f"a {self.suffix} archive", *["bad members"] * self.bad_members, *["spooled"] * self.spool]
        where = f"{self.storage}{' and database' * self.database}"
        return f"{members} ({', '.join(others)}) to {where} by {self.way}: {'; '.join(map(str, self.faults))}"


class _Place(NamedTuple):
    """A failpoint, what may happen there, and at which times that a process gets there: at most one for each batch."""

    point: str
    actions: Sequence[str]
    hits: int = 1


_DEATH = ("kill", "kill", "term", "abort")
_DISK = ("ENOSPC", "EIO", "EROFS")
_JOB = (*_DEATH, "meet:second-worker", "meet:frozen", "meet:clock+1d", "meet:clock-1d", "meet:read-only")
_SERVER = tuple(f"meet:server-{mood}" for mood in ("refuse", "reset", "slow", "lie"))
_OPEN_CONNECTION = (*_SERVER, "meet:server-hang")
"""A login to a server that hangs is given up after 40 s, which is too long here; ``test_upload`` tries it."""
_DATABASE = tuple(f"meet:database-{what}" for what in ("restart", "stop", "terminate", "freeze"))

_BATCH_EVENTS = ("batch_extracted", "recognition_begun", "batch_transcribed", "batch_uploaded")
_DATABASE_EVENTS = ("batch_recorded", "batch_confirmed")

_EVERYWHERE = (
    *(
        _Place(f"journal.{moment}.{event}", (*_JOB, *more), 3)
        for event in _BATCH_EVENTS
        for moment, more in (("before", (*_DISK, "tear")), ("after", ()))
    ),
    *(
        _Place(f"journal.{moment}.{event}", (*_JOB, *more))
        for event in ("attempt_started", "archive_read", "attempt_ended")
        for moment, more in (("before", (*_DISK, "tear")), ("after", ()))
    ),
    _Place("lease.taken.12_30", _JOB),
    _Place("lease.given_back.12_30", _DEATH),
    _Place("scratch.make", (*_DEATH, *_DISK)),
    _Place("scratch.remove", _DEATH, 3),
    _Place("extract.read", (*_DEATH, "EIO"), 2),
    _Place("extract.batch", _DEATH, 3),
    _Place("convert.clip", ("kill", "kill", "abort", "ENOSPC", "EIO"), 6),
    _Place("transcribe.begin", (*_JOB, "meet:kill-workers"), 3),
    _Place("transcribe.end", _JOB, 3),
    _Place("upload.begin", (*_DEATH, "ENOSPC"), 3),
    _Place("upload.running", (*_DEATH, "meet:kill-rsync"), 3),
    _Place("upload.sent", _DEATH, 3),
)
_OVER_SSH = (
    _Place("upload.begin", _SERVER, 3),
    _Place("upload.running", _OPEN_CONNECTION, 4),
    _Place("transcribe.begin", _SERVER, 3),
)
_WITH_DATABASE = (
    *(_Place(f"journal.{moment}.{event}", _JOB, 3) for event in _DATABASE_EVENTS for moment in ("before", "after")),
    *(
        _Place(point, (*_DEATH, *_DATABASE), 3)
        for point in ("record.rows", "confirm.rows", "record.committed", "confirm.committed")
    ),
)
_SUBMITTED = (
    *(_Place(f"lease.{moment}.submission", ("kill", "term")) for moment in ("taken", "given_back")),
    *(_Place(f"lease.{moment}.supervisor", ("kill", "term")) for moment in ("taken", "given_back")),
    _Place("supervisor.job_begins", ("kill", "term")),
    _Place("supervisor.job_ended", ("kill", "term")),
    _Place("run.rename", ("kill", "term", "ENOSPC")),
    _Place("run.written", ("kill", "term")),
    _Place("ledger.absorb", ("kill", "term")),
)
_SPOOLED = (_Place("extract.spool", (*_DEATH, *_DISK), 6),)


ALL_POINTS = frozenset(
    place.point for places in (_EVERYWHERE, _OVER_SSH, _WITH_DATABASE, _SUBMITTED, _SPOOLED) for place in places
)


def scenario_of(seed: int) -> Scenario:
    """Always the same of the same seed."""
    draw = random.Random(seed)
    storage = draw.choice(list(Storage))
    database, spool = draw.random() < 0.5, draw.random() < 0.2
    way = draw.choice(list(Way))
    places = [
        _EVERYWHERE,
        *[_OVER_SSH] * (storage is Storage.SSH),
        *[_WITH_DATABASE] * database,
        *[_SUBMITTED] * (way is Way.SUBMIT),
        *[_SPOOLED] * spool,
    ]
    clips, batch_size = draw.randint(1, 7), draw.randint(1, 3)
    batches = math.ceil(clips / batch_size)
    return Scenario(
        clips=clips,
        batch_size=batch_size,
        suffix=draw.choice([".tar", ".tar.xz", ".tar.gz"]),
        bad_members=draw.random() < 0.3,
        spool=spool,
        storage=storage,
        database=database,
        way=way,
        faults=[_fault(draw, places, batches) for _ in range(draw.choice([1, 1, 1, 2]))],
    )


def _fault(draw: random.Random, places: Sequence[Sequence[_Place]], batches: int) -> Fault:
    # The kind of place first, or the many moments of the journal would leave little to the others.
    place = draw.choice(draw.choice(places))
    return Fault(place.point, draw.randint(1, min(place.hits, batches)), draw.choice(place.actions))
