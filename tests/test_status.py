"""The table of a day as a person sees it on a narrow and on a wide terminal, and how long the day will take."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console
from statuses import RUN_ID, TIMEOUT, archive, day_of, done, running, waiting

from audioctl.cli.output import make_table
from audioctl.cli.status_tables import archives_table, remaining_seconds, totals_line, why
from audioctl.ledger.queries import DayStatus
from audioctl.states import ArchiveState


def shown(day: DayStatus, width: int) -> list[str]:
    """The lines of the table, its titles first."""
    page = io.StringIO()
    Console(file=page, width=width).print(make_table(*archives_table(day, width)))
    return [line.rstrip() for line in page.getvalue().splitlines()]


BUSY = day_of(
    done("00_00"),
    done("01_00", attempt=2, rejected=44),
    archive("02_00", "failed", reason="TIMEOUT", error=TIMEOUT, finished_at=None),
    running("03_00"),
    waiting("04_00", "requeued: BeginTime"),
    waiting("05_00", "JobArrayTaskLimit"),
)


def test_80_columns_have_room_for_jobs_nodes_and_why_archives_wait() -> None:
    titles, *rows = shown(BUSY, 80)
    assert titles.split() == ["slot", "state", "job", "node", "batches", "clips", "why"]
    assert max(map(len, rows)) <= 80
    words = [" ".join(row.split()) for row in rows]
    assert "03_00 running 12345678_3 gpu-node03 15/15 2,863" in words
    assert "04_00 submitted 12345678_4 - 0/0 0 requeued: BeginTime" in words
    assert "05_00 submitted 12345678_5 - 0/0 0 JobArrayTaskLimit" in words


def test_200_columns_have_room_for_everything() -> None:
    titles, *rows = shown(BUSY, 200)
    everything = ["slot", "state", "attempt", "job", "node", "batches", "clips", "rejected", "audio", "finished", "why"]
    assert titles.split() == everything
    assert "44" in rows[1]
    assert "12.0 h" in rows[1]
    assert "2025-01-26T08:10:00Z" in rows[1]


@pytest.mark.parametrize("width", [80, 200])
def test_columns_that_would_tell_nothing_are_left_out(width: int) -> None:
    day = day_of(waiting("00_00", ""), waiting("01_00", ""))
    assert shown(day, width)[0].split() == ["slot", "state", "job", "batches", "clips", "audio"]


def test_a_job_of_this_machine_has_no_number_that_one_could_ask_about() -> None:
    by_hand = done("00_00", job_id=None)
    local = done("01_00", job_id=f"{RUN_ID}_0")
    assert "job" not in shown(day_of(by_hand, local), 200)[0].split()
    assert "job" in shown(day_of(by_hand, local, done("02_00")), 200)[0].split()


def test_where_all_rows_are_failures_their_reasons_get_half_the_width() -> None:
    failures = [archive(f"{hour:02}_00", "failed", reason="TIMEOUT", error=TIMEOUT) for hour in range(3)]
    titles, *rows = shown(day_of(*failures), 80)
    assert 80 - titles.index("why") >= 40
    words = " ".join(" ".join(row[titles.index("why") :].split()) for row in rows)
    assert words == " ".join(3 * [f"TIMEOUT: {TIMEOUT}"])


def test_why_names_files_without_their_folder_and_says_nothing_that_the_state_says() -> None:
    error = "/staging/00_10.tar is cut off after 5 whole members."
    cut = archive("00_10", "damaged", path="/staging/00_10.tar", reason="cut_off", error=error)
    assert why(cut) == "cut_off: 00_10.tar is cut off after 5 whole members."
    assert why(archive("00_20", "cancelled", reason="CANCELLED")) == ""
    assert why(archive("00_20", "cancelled", reason="CANCELLED by 1001")) == "CANCELLED by 1001"


def test_a_narrower_terminal_still_shows_which_archive_is_in_which_state() -> None:
    rows = shown(BUSY, 40)
    assert max(map(len, rows)) <= 40
    assert any(row.startswith("03_00  running") for row in rows)


def test_the_time_left_goes_by_how_many_archives_run_at_a_time() -> None:
    ended = [done(f"{number // 60:02}_{number % 60:02}") for number in range(36)]
    day = day_of(*ended, *[running("03_00")] * 8, *[waiting("04_00", "JobArrayTaskLimit")] * 100)
    # Ten minutes for each of thirteen rounds: half an archive is left of those that run.
    assert remaining_seconds(day) == 600 * (100 + 4) / 8
    assert totals_line(day).endswith("2:10:00 left")


def test_a_night_between_two_attempts_does_not_count_as_work() -> None:
    resumed = done("00_00", attempt=2, started_at="2025-01-25T08:00:00Z")
    assert remaining_seconds(day_of(resumed, done("01_00"), done("02_00"), running("03_00"))) == 300


@pytest.mark.parametrize(
    "day",
    [day_of(running("00_00"), waiting("01_00", "Resources")), day_of(done("00_00"), waiting("01_00", "Resources"))],
    ids=["nothing is done", "nothing runs"],
)
def test_no_time_left_is_told_where_nobody_can_know_it(day: DayStatus) -> None:
    assert remaining_seconds(day) is None
    assert "left" not in totals_line(day)


def test_a_day_whose_only_job_was_lost_has_no_speed() -> None:
    lost = archive("00_00", "failed", reason="lost", finished_at=None)
    day = msgspec.structs.replace(day_of(lost), state=ArchiveState.FAILED)
    assert "real time" not in totals_line(day)
