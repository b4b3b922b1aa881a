"""What bounds a job, told from its figures alone."""

from __future__ import annotations

import re

import msgspec
import pytest

from audioctl.bounds import Part, find_slowness
from audioctl.settings import KEYS
from audioctl.timing import Timing

STEADY = Timing(
    elapsed_seconds=120, start_seconds=10, load_seconds=8, finish_seconds=10, transcribe_seconds=50,
    wait_extract_seconds=5, wait_convert_seconds=40, wait_upload_seconds=3, journal_seconds=2, extract_seconds=20,
    convert_seconds=300, extract_before_seconds=1, convert_before_seconds=20, upload_seconds=44, num_workers=4,
    max_concurrent_uploads=8, batches=50, clips=2_000, audio_seconds=20_000,
)  # fmt: skip


def bound_of(**changes: float) -> Part:
    return find_slowness([msgspec.structs.replace(STEADY, **changes)]).bound.part


def test_what_is_busiest_bounds_whatever_else_was_waited_for() -> None:
    assert bound_of() is Part.CONVERT
    assert bound_of(extract_seconds=100) is Part.EXTRACT
    # A batch that has just been read is waited for once more, until it is converted.
    assert bound_of(extract_seconds=99, wait_extract_seconds=5, wait_convert_seconds=70) is Part.EXTRACT
    assert bound_of(upload_seconds=8 * 110) is Part.UPLOAD
    assert bound_of(convert_seconds=100, wait_convert_seconds=10, journal_seconds=60) is Part.JOURNAL
    assert bound_of(convert_seconds=100, wait_convert_seconds=10, transcribe_seconds=80) is Part.TRANSCRIBE
    assert bound_of(transcribe_seconds=97, convert_seconds=399) is Part.TRANSCRIBE


def test_the_beginning_and_the_end_count_where_they_take_longer_than_what_is_between() -> None:
    assert bound_of(start_seconds=70, load_seconds=60) is Part.START
    assert bound_of(finish_seconds=80) is Part.UPLOAD
    assert bound_of(finish_seconds=80, record_finish_seconds=60) is Part.RECORD


def test_advice_goes_by_why_it_is_so() -> None:
    def settings(**changes: float) -> list[str]:
        return find_slowness([msgspec.structs.replace(STEADY, **changes)]).bound.settings

    assert settings() == ["convert.num_workers", "slurm.cpus_per_task"]
    assert settings(convert_seconds=100, wait_convert_seconds=60) == ["extract.stream_batch_size"]
    assert settings(start_seconds=70, load_seconds=60) == ["paths.models"]
    sizes = ["extract.stream_batch_size", "transcribe.process_batch_size"]
    assert settings(start_seconds=70, load_seconds=2) == sizes
    assert settings(upload_seconds=800, finish_seconds=80)[0] == "upload.max_concurrent_uploads"
    assert settings(upload_seconds=80, finish_seconds=80) == ["upload.destination"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"extract_seconds": 100},
        {"upload_seconds": 880},
        {"journal_seconds": 90},
        {"transcribe_seconds": 99},
        {"start_seconds": 70},
        {"start_seconds": 70, "load_seconds": 60},
        {"finish_seconds": 80},
        {"finish_seconds": 80, "record_finish_seconds": 60},
        {"convert_seconds": 100, "wait_convert_seconds": 60},
    ],
)
def test_every_setting_that_is_named_is_one(changes: dict[str, float]) -> None:
    found = find_slowness([msgspec.structs.replace(STEADY, **changes)]).bound
    named = re.findall(r"\b[a-z]+\.[a-z]+_[a-z_]+|\b(?:paths|transcribe|upload|convert)\.[a-z_]+", found.advice)
    assert named
    assert [name for name in named if name not in KEYS] == []
    assert found.settings == named


def test_archives_are_taken_together_by_their_times() -> None:
    fast = msgspec.structs.replace(STEADY, elapsed_seconds=22, start_seconds=1, finish_seconds=1, num_workers=8)
    found = find_slowness([STEADY, fast])
    parts = {part.part: part for part in found.parts}
    assert (found.archives, found.batches, found.clips, found.elapsed_seconds) == (2, 100, 4_000, 142)
    assert parts[Part.CONVERT].busy_share == 1
    assert parts[Part.CONVERT].clips_per_second == round(4_000 * ((4 * 100 + 8 * 20) / 120) / 640, 2)
    assert parts[Part.TRANSCRIBE].clips_per_second == 40


def test_rates_are_of_the_whole_attempt_with_all_that_work_side_by_side() -> None:
    parts = {part.part: part for part in find_slowness([STEADY]).parts}
    assert parts[Part.EXTRACT].clips_per_second == round(2_000 / 21, 2)
    assert parts[Part.CONVERT].clips_per_second == round(4 * 2_000 / 320, 2)
    assert parts[Part.CONVERT].busy_share == 0.75
    assert sum(part.share for part in parts.values()) == pytest.approx(1)
