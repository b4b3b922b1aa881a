"""What a watch shows of a day, of many days, and of failures, on terminals that have room for all of it or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from rich.text import Text
from statuses import TIMEOUT, archive, day_of, done, running, waiting

from audioctl.bounds import find_slowness
from audioctl.cli.blocks import Block, fitted
from audioctl.cli.strip import Slot, mark_of
from audioctl.cli.watch_pages import Pace, RunningJob, day_page, days_page, failures_page
from audioctl.ledger.queries import DayStatus
from audioctl.states import Stage
from audioctl.timing import Timing

CLOCK = "08:30:00Z"
NO_PACE = Pace(180, {}, None, [])
TIMING = Timing(
    elapsed_seconds=100, transcribe_seconds=95, batches=7, clips=1_400, audio_seconds=8_400, clips_ahead=400
)
LOST = [archive(f"02_{minute}0", "failed", reason="TIMEOUT", error=TIMEOUT) for minute in range(6)]
OWED = archive("04_00", "failed", reason="owed", owed_upload=200)
DAMAGED = archive("05_00", "damaged", reason="cut_off", error="/staging/05_00.tar is cut off after 5 whole members.")
WAITING = [waiting("13_00", "JobArrayTaskLimit"), waiting("13_10", "JobArrayTaskLimit"), waiting("13_20", "Resources")]


def pace_of(day: DayStatus, **changes: Any) -> Pace:
    jobs = [RunningJob(one, TIMING, 30.0) for one in day.archives or [] if one.state == "running"]
    clips = {Stage.EXTRACT: 3_600, Stage.TRANSCRIBE: 1_800, Stage.UPLOAD: 900}
    return replace(Pace(180, clips, find_slowness([TIMING]).bound, jobs), **changes)


def page(day: DayStatus, width: int, height: int | None, pace: Pace | None = None) -> list[str]:
    lines = day_page(day, pace or pace_of(day), CLOCK, width, height)
    assert max(line.cell_len for line in lines) <= width
    assert height is None or len(lines) <= height
    return [line.plain for line in lines]


TROUBLED = day_of(done("00_00"), *LOST, OWED, DAMAGED, *[running(f"12_{minute}0") for minute in range(6)], *WAITING)


def test_80_by_24_shows_the_day_its_failures_its_speed_and_its_jobs() -> None:
    lines = page(TROUBLED, 80, 24)
    text = "\n".join(lines)
    assert lines[0].startswith("2025-01-25  running  1 of 18 done")
    assert lines[2].startswith("#...........xxxxxx......!.....!")
    assert lines[4].startswith(">>>>>>oooo"[:9])
    assert "# 1 done  > 6 running  o 3 waiting  x 6 failed  ! 2 damaged or owed  . none" in lines
    assert "waiting: 2 JobArrayTaskLimit, 1 Resources" in lines
    assert "x 02_00 02_10 02_20 02_30 and 2 more  TIMEOUT: Its job reached its time limit" in lines
    assert "! 05_00  cut_off: 05_00.tar is cut off after 5 whole members." in lines
    assert "  audioctl resume 2025-01-25  takes up what failed or is owed or was replaced" in lines
    assert "  audioctl logs 2025-01-25 02_00  tells more" in lines
    assert "The recogniser bounds it: it was busy 95% of the time" in text
    assert any(line.startswith("running") for line in lines)


def test_200_by_50_has_room_for_everything() -> None:
    lines = page(TROUBLED, 200, 50)
    assert lines == page(TROUBLED, 200, None)
    assert [line[:5] for line in lines if line.startswith("12_")] == [f"12_{minute}0" for minute in range(6)]
    assert any(line.startswith("Nothing is to be gained elsewhere.") for line in lines)


@pytest.mark.parametrize("height", [1, 2, 5, 8, 12, 16, 20, 30])
@pytest.mark.parametrize("width", [20, 40, 80, 132])
def test_no_terminal_is_too_small(width: int, height: int) -> None:
    assert page(TROUBLED, width, height)[0].startswith("2025-01-25  running"[:width][:10])


def test_rates_are_of_the_last_minutes_and_beside_them_is_what_waits() -> None:
    day = day_of(done("00_00"), running("12_00"))
    day.totals.stored, day.totals.owed_upload = 14_400, 12
    rows = {line[:13].strip(): line[13:].split() for line in page(day, 80, None)}
    assert rows["last 3 min"] == ["extract", "transcribe", "upload"]
    assert rows["clips/s"] == ["20.0", "10.0", "5.0"]
    assert rows["× real time"] == ["120", "60", "30"]  # clips of six seconds
    assert rows["clips waiting"] == ["400", "12"]


def test_a_job_tells_how_far_it_is_and_when_its_journal_last_grew() -> None:
    day = day_of(running("12_00"))
    silent = pace_of(day, jobs=[RunningJob(running("12_00"), None, 1_260.0)])
    words = [" ".join(line.split()) for line in page(day, 80, None, silent)]
    assert "12_00 gpu-node03 15/15 2,863 - 21 min ago 12345678_12" in words


def test_a_day_that_has_ended_says_where_to_read_on() -> None:
    ended = day_of(done("00_00"), OWED)
    ended.totals.owed_upload = 200
    text = "\n".join(page(ended, 80, 24, NO_PACE))
    assert "`audioctl status 2025-01-25 --why-slow`" in text
    assert "200 to upload" in text
    assert "clips/s" not in text


def test_what_archives_say_cannot_drive_the_terminal() -> None:
    hostile = archive("01_00", "failed", reason="lost", error="\x1b[2Jgone\nand more")
    text = "\n".join(page(day_of(hostile), 80, None, NO_PACE))
    assert "\x1b" not in text
    assert "\\x1b[2Jgone and more" in text


def days(count: int) -> tuple[list[DayStatus], Mapping[str, list[Slot]]]:
    found = [msgspec.structs.replace(TROUBLED, day=f"2025-01-{number:02}") for number in range(1, count + 1)]
    slots = {day.day: [Slot(one.slot, mark_of(one.state, one.reason)) for one in day.archives or []] for day in found}
    return found, slots


@pytest.mark.parametrize(("width", "cells"), [(80, 24), (200, 72)])
def test_of_many_days_each_has_a_strip_and_the_newest_comes_first(width: int, cells: int) -> None:
    lines = [line.plain for line in days_page(*days(12), CLOCK, width, 24)]
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("12 days: 12 running")
    assert [line[:10] for line in lines[2:14]] == [f"2025-01-{day:02}" for day in range(12, 0, -1)]
    strip = lines[2].split()[2]
    assert len(strip) == cells
    assert "x" in strip
    assert "6 failed" in lines[2] or "7 failed" in lines[2]


def test_days_that_there_is_no_room_for_are_counted() -> None:
    found, slots = days(30)
    lines = [line.plain for line in days_page(found, slots, CLOCK, 80, 12)]
    assert len(lines) == 12
    shown = sum(line.startswith("2025-") for line in lines)
    assert f"... and {30 - shown} days before" in lines


def test_a_day_of_long_ago_has_a_row_without_a_strip() -> None:
    found, slots = days(2)
    *_, old = [line.plain for line in days_page(found, {"2025-01-02": slots["2025-01-02"]}, CLOCK, 80, None)][:5]
    assert old.split()[:3] == ["2025-01-01", "running", "1/18"]


def test_failures_of_several_days_stand_under_their_day() -> None:
    first, second = msgspec.structs.replace(TROUBLED, day="2025-01-24"), TROUBLED
    lines = [line.plain for line in failures_page([first, second], CLOCK, 80, 24)]
    assert lines[0].startswith("To see to: 2 days")
    assert lines.index("2025-01-24") < lines.index("2025-01-25")
    assert "  audioctl resume 2025-01-24  takes up what failed or is owed or was replaced" in lines


def test_blocks_give_way_from_the_last_one_on() -> None:
    first = Block([Text("first")])
    list_of_ten = Block(
        [Text("titles")],
        [[Text(str(number))] for number in range(10)],
        wanted=2,
        left_out=lambda missing: Text(f"and {missing} more"),
    )
    last = Block([Text("last")])
    shown = {height: [line.plain for line in fitted([first, list_of_ten, last], height)] for height in (1, 3, 6, 8)}
    assert shown[1] == ["first"]
    assert shown[3] == ["first", "titles", "and 10 more"]
    assert shown[6] == ["first", "titles", "0", "1", "and 8 more", "last"]
    assert shown[8] == ["first", "titles", "0", "1", "2", "3", "and 6 more", "last"]
