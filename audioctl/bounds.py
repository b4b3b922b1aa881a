"""What bounds a run, told from how its attempts have spent their time, and which settings to turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from audioctl.settings import KEYS
from audioctl.timing import Timing

_ALL_BUSY = 0.9
"""A stage that is busy for so long of its time cannot be made to wait less."""

_TINY = 1e-6
_DOTTED = re.compile(r"[a-z]+\.[a-z_]+")

_HARDLY_BUSY = 0.5
"""Workers, or uploads, of which so few had anything to do: it is not their number."""


class Part(StrEnum):
    """What can bound a run."""

    START = "start"
    EXTRACT = "extract"
    CONVERT = "convert"
    TRANSCRIBE = "transcribe"
    JOURNAL = "journal"
    RECORD = "record"
    UPLOAD = "upload"


IN_WORDS = {
    Part.START: "start-up",
    Part.EXTRACT: "reading the archive",
    Part.CONVERT: "conversion",
    Part.TRANSCRIBE: "the recogniser",
    Part.JOURNAL: "the journal's disk",
    Part.RECORD: "the database",
    Part.UPLOAD: "uploads",
}


@dataclass(frozen=True, slots=True)
class PartTime:
    """What one part did and cost. ``seconds`` are the job's own (of ``transcribe`` work, of all others waiting for
    them), ``busy_seconds`` those of its processes and calls, summed; ``busy_share`` is of what they could have worked
    while the recogniser was at work, ``clips_per_second`` what they could do at most."""

    part: Part
    seconds: float
    share: float
    busy_seconds: float | None = None
    busy_share: float | None = None
    clips_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """``evidence`` and ``advice`` are sentences."""

    part: Part
    evidence: str
    advice: str

    @property
    def settings(self) -> list[str]:
        """Those that the advice names."""
        return [name for name in _DOTTED.findall(self.advice) if name in KEYS]


@dataclass(frozen=True, slots=True)
class Slowness:
    """Several attempts taken together, each of an archive of its own. ``parts`` share out ``elapsed_seconds``."""

    archives: int
    batches: int
    clips: int
    audio_seconds: float
    elapsed_seconds: float
    parts: list[PartTime]
    bound: Bound


def find_slowness(timings: Sequence[Timing]) -> Slowness:
    """Of at least one attempt that transcribed something."""
    total = Timing(**{name: sum(getattr(one, name) for one in timings) for name in Timing.__struct_fields__})
    load = _load(timings, total)
    return Slowness(
        archives=len(timings),
        batches=total.batches,
        clips=total.clips,
        audio_seconds=round(total.audio_seconds, 3),
        elapsed_seconds=round(total.elapsed_seconds, 3),
        parts=_parts(total, load),
        bound=_bound(len(timings), total, load),
    )


@dataclass(frozen=True, slots=True)
class _Load:
    """Busy shares, from 0 to 1; ``workers`` and ``uploads`` are those of a job, on average."""

    extract: float
    convert: float
    transcribe: float
    upload: float
    workers: float
    uploads: float


def _load(timings: Sequence[Timing], total: Timing) -> _Load:
    worker_seconds = sum(one.num_workers * one.between_seconds for one in timings)
    since_start = [one.between_seconds + one.finish_seconds for one in timings]
    upload_seconds = sum(
        one.max_concurrent_uploads * seconds for one, seconds in zip(timings, since_start, strict=True)
    )
    return _Load(
        extract=_share(total.extract_seconds, total.between_seconds),
        convert=_share(total.convert_seconds, worker_seconds),
        transcribe=_share(total.transcribe_seconds, total.between_seconds),
        upload=_share(total.upload_seconds, upload_seconds),
        workers=worker_seconds / max(_TINY, total.between_seconds),
        uploads=upload_seconds / max(_TINY, sum(since_start)),
    )


def _parts(total: Timing, load: _Load) -> list[PartTime]:
    def part(
        name: Part,
        seconds: float,
        busy_seconds: float | None = None,
        busy: float | None = None,
        side_by_side: float = 1,
    ) -> PartTime:
        return PartTime(
            name,
            round(seconds, 3),
            round(_share(seconds, total.elapsed_seconds), 4),
            None if busy_seconds is None else round(busy_seconds, 3),
            None if busy is None else round(busy, 4),
            round(total.clips * side_by_side / busy_seconds, 2) if busy_seconds else None,
        )

    extracting = total.extract_before_seconds + total.extract_seconds
    converting = total.convert_before_seconds + total.convert_seconds
    uploading = total.wait_upload_seconds + _finish_upload_seconds(total)
    return [
        part(Part.START, total.start_seconds),
        part(Part.EXTRACT, total.wait_extract_seconds, extracting, load.extract),
        part(Part.CONVERT, total.wait_convert_seconds, converting, load.convert, load.workers),
        part(Part.TRANSCRIBE, total.transcribe_seconds, total.transcribe_seconds, load.transcribe),
        part(Part.JOURNAL, total.journal_seconds),
        part(Part.RECORD, total.record_finish_seconds, total.record_seconds),
        part(Part.UPLOAD, uploading, total.upload_seconds, load.upload, load.uploads),
    ]


def _bound(archives: int, total: Timing, load: _Load) -> Bound:
    """The longest of the three stretches of a job's time; in the one between, whatever was busiest.

    What is busy all the time is what all others wait for, however long each of them works beside it. Where nothing is,
    waiting for one thing (a single long clip, an upload that hangs) still counts as its being in the way.
    """
    between = total.between_seconds
    if total.start_seconds > max(between, total.finish_seconds):
        return _start_bound(archives, total)
    if total.finish_seconds > between:
        if total.record_finish_seconds > _finish_upload_seconds(total):
            return _record_bound(total)
        return _upload_bound(total, load)
    if load.transcribe >= _ALL_BUSY:
        return _transcribe_bound(load)
    busiest = {
        Part.TRANSCRIBE: load.transcribe,
        Part.EXTRACT: load.extract,
        Part.CONVERT: max(load.convert, _share(total.wait_convert_seconds, between)),
        Part.UPLOAD: max(load.upload, _share(total.wait_upload_seconds, between)),
        Part.JOURNAL: _share(total.journal_seconds, between),
    }
    match max(busiest, key=lambda part: busiest[part]):
        case Part.EXTRACT:
            return _extract_bound(total, load)
        case Part.CONVERT:
            return _convert_bound(total, load)
        case Part.UPLOAD:
            return _upload_bound(total, load)
        case Part.JOURNAL:
            return _journal_bound(total)
        case _:
            return _transcribe_bound(load)


def _start_bound(archives: int, total: Timing) -> Bound:
    evidence = (
        f"Starting up takes most of the time: {total.start_seconds / archives:.1f} s an archive until the recogniser "
        f"has its first clips, {total.load_seconds / archives:.1f} s of it for loading the model."
    )
    if total.load_seconds > total.start_seconds / 2:
        advice = (
            "Each archive loads the model anew: keep it on a faster disk (paths.models), or put more into an archive."
        )
        return Bound(Part.START, evidence, advice)
    advice = "Smaller extract.stream_batch_size and transcribe.process_batch_size bring the first clips sooner."
    return Bound(Part.START, evidence, advice)


def _extract_bound(total: Timing, load: _Load) -> Bound:
    evidence = (
        f"Reading the archives bounds it: the reader was busy {load.extract:.0%} of the time, and the recogniser "
        f"waited {_waited_for_clips(total):.0%} of it for clips."
    )
    advice = (
        "Write archives as .tar.zst, or as .tar.xz in many blocks (`xz -T0`), which are read on several cores; "
        "or bring them to a faster disk (paths.archives)."
    )
    return Bound(Part.EXTRACT, evidence, advice)


def _convert_bound(total: Timing, load: _Load) -> Bound:
    evidence = (
        f"Conversion bounds it: the recogniser waited {_waited_for_clips(total):.0%} of the time for clips, and the "
        f"{load.workers:.0f} workers of a job were busy {load.convert:.0%} of it."
    )
    if load.convert < _HARDLY_BUSY:
        advice = (
            "Single long clips hold back their batches; a larger extract.stream_batch_size gives the other workers "
            "more to do meanwhile."
        )
        return Bound(Part.CONVERT, evidence, advice)
    advice = "Raise convert.num_workers, and slurm.cpus_per_task with it: workers are never more than CPU cores."
    return Bound(Part.CONVERT, evidence, advice)


def _transcribe_bound(load: _Load) -> Bound:
    evidence = (
        f"The recogniser bounds it: it was busy {load.transcribe:.0%} of the time between its first and its last batch."
    )
    elsewhere = "Nothing is to be gained elsewhere. " if load.transcribe >= _ALL_BUSY else ""
    advice = (
        f"{elsewhere}More jobs at once (slurm.max_concurrent) give the same words sooner; then comes "
        "transcribe.window_batch_size, as far as the memory goes. transcribe.compute_type, transcribe.beam_size and "
        "transcribe.model may change words."
    )
    return Bound(Part.TRANSCRIBE, evidence, advice)


def _journal_bound(total: Timing) -> Bound:
    evidence = (
        f"The disk of the journals bounds it: the recogniser waited "
        f"{_share(total.journal_seconds, total.between_seconds):.0%} of the time for its results to be written."
    )
    advice = (
        "Put paths.state_dir on a file system that is faster at syncing small files; a larger "
        "extract.stream_batch_size writes less often."
    )
    return Bound(Part.JOURNAL, evidence, advice)


def _record_bound(total: Timing) -> Bound:
    evidence = f"The database bounds it: jobs waited {total.record_finish_seconds:.0f} s for it when all else was done."
    advice = "Look at the server; database.give_up_after is how long a job waits before rows stay owed to a resume."
    return Bound(Part.RECORD, evidence, advice)


def _upload_bound(total: Timing, load: _Load) -> Bound:
    evidence = (
        f"Uploads bound it: they held the recogniser back {total.wait_upload_seconds:.0f} s, and jobs waited "
        f"{_finish_upload_seconds(total):.0f} s for them at the end; "
        f"{load.upload * load.uploads:.1f} of {load.uploads:.0f} calls of rsync ran at a time."
    )
    if load.upload < _HARDLY_BUSY:
        advice = (
            "Single calls take long, or fail and are tried again: look at the link to upload.destination, and at what "
            "the job's log says of it."
        )
        return Bound(Part.UPLOAD, evidence, advice)
    advice = (
        "Raise upload.max_concurrent_uploads if server and link can take it; else a faster upload.destination, or a "
        "lower convert.bitrate."
    )
    return Bound(Part.UPLOAD, evidence, advice)


def _waited_for_clips(total: Timing) -> float:
    return _share(total.wait_extract_seconds + total.wait_convert_seconds, total.between_seconds)


def _finish_upload_seconds(total: Timing) -> float:
    return max(0.0, total.finish_seconds - total.record_finish_seconds)


def _share(seconds: float, of_seconds: float) -> float:
    return min(1.0, seconds / max(_TINY, of_seconds))
