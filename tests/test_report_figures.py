"""The figures of a report that are computed: time at work, what changed over it, what it cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from journals import DAY, submit

from audioctl.configuration import dump_toml
from audioctl.reporting.charts import frame, speed_chart, timeline, waiting_chart
from audioctl.reporting.costs import Reserved, day_costs, gpus_asked_for, reserved_by_runs
from audioctl.reporting.history import Attempt, AttemptEnd, BatchTimes
from audioctl.reporting.series import day_series
from audioctl.reporting.worktime import Stretch, WorkTime
from audioctl.runs import CONFIG_FILE, runs_of_day
from audioctl.settings import Settings, Slurm

RUN_ID = "20250125T123000Z-0001"
HOUR = 3600.0


def attempt(node: str, began: float, until: float, end: AttemptEnd = AttemptEnd.DONE) -> Attempt:
    return Attempt("12_00", 1, node, RUN_ID, "1", began, until, end)


def batch(read: float, begun: float, heard: float, uploaded: float | None = None) -> BatchTimes:
    return BatchTimes(100, read, begun, heard, recorded=None, uploaded=uploaded, stored=90, audio_seconds=1000.0)


# Time at work


def test_a_night_between_two_jobs_is_cut_out() -> None:
    work = WorkTime([Stretch(0, HOUR), Stretch(10 * HOUR, 11 * HOUR)])
    assert work.work_seconds == 2 * HOUR
    assert [work.position(0), work.position(11 * HOUR)] == pytest.approx([0, 1])
    before, after = work.position(HOUR), work.position(10 * HOUR)
    assert before == pytest.approx(0.485)
    assert after == pytest.approx(0.515)
    (pause,) = work.pauses()
    assert (pause.start, pause.end) == (HOUR, 10 * HOUR)
    assert before < pause.position < after


def test_a_short_wait_between_two_jobs_is_shown() -> None:
    work = WorkTime([Stretch(0, HOUR), Stretch(HOUR + 300, 2 * HOUR)])
    assert work.pauses() == []
    assert work.position(HOUR) == pytest.approx(0.5)


@pytest.mark.parametrize("seconds", [0, 1, 7, 600, 5 * HOUR, 60 * HOUR])
def test_the_axis_has_few_round_ticks_in_order(seconds: float) -> None:
    work = WorkTime([Stretch(1_737_853_201, 1_737_853_201 + seconds)])
    positions = [tick.position for tick in work.ticks()]
    assert positions == sorted(positions)
    assert len(positions) <= 8
    assert all(0 <= position <= 1 for position in positions)
    assert sum(stretch.seconds for stretch in work.stretches()) == pytest.approx(seconds)
    assert len(work.stretches()) <= 101


# What changed over it


def test_the_speed_of_a_batch_is_spread_over_the_time_in_which_it_was_heard() -> None:
    stretches = [Stretch(0, 10), Stretch(10, 20), Stretch(20, 30)]
    series = day_series([batch(0, 5, 25)], stretches, records=False, uploads=True)
    assert series.real_time == [25.0, 50.0, 25.0]
    assert sum(series.clips_per_second) * 10 == pytest.approx(90)


def test_no_audio_is_lost_where_batches_take_less_than_the_clock_tells() -> None:
    stretches = [Stretch(0, 1), Stretch(1, 2)]
    series = day_series([batch(0, 1, 1), batch(0, 2, 2)], stretches, records=False, uploads=True)
    assert sum(series.real_time) == 2000.0


def test_queues_are_as_deep_as_they_were_at_most() -> None:
    stretches = [Stretch(0, 10), Stretch(10, 20), Stretch(20, 30)]
    batches = [batch(1, 2, 12, uploaded=14), batch(3, 12, 16), batch(5, 16, 22, uploaded=26)]
    series = day_series(batches, stretches, records=False, uploads=True)
    assert series.waiting_recogniser == [300, 300, 100]
    assert series.waiting_upload == [0, 90, 180]
    assert series.waiting_record == []
    assert (series.read, series.transcribed, series.uploaded) == ([300, 300, 300], [0, 200, 300], [0, 90, 180])


def test_what_is_owed_goes_on_waiting_through_a_pause_in_which_nothing_is_transcribed() -> None:
    work = WorkTime([Stretch(0, 100), Stretch(1000, 1100)])
    series = day_series([batch(0, 10, 90), batch(1000, 1010, 1090)], work.stretches(), records=False, uploads=True)
    speed, waiting = speed_chart(series, work).curves[0], waiting_chart(series, work).curves[-1]
    assert "V100 H" in speed.path
    assert (waiting.name, waiting.peak) == ("for their upload", 180)
    heights = [float(part[1:]) for part in waiting.path.split() if part.startswith("V")]
    assert heights == sorted(heights, reverse=True)


# Jobs over nodes


def test_jobs_of_a_node_that_overlap_stand_below_each_other() -> None:
    attempts = [attempt("node10", 0, 50), attempt("node2", 0, 50), attempt("node2", 25, 75), attempt("node2", 50, 100)]
    work = WorkTime([Stretch(0, 100)])
    drawn = timeline(attempts, work)
    assert [row.node for row in drawn.nodes] == ["node2", "node10"]
    places = {(bar.attempt.node, bar.attempt.began): (bar.x, bar.width, bar.y) for bar in drawn.bars}
    assert places["node2", 0][2] == places["node2", 50][2] < places["node2", 25][2] < places["node10", 0][2]
    assert places["node2", 25][:2] == (25.0, 50.0)
    assert frame(work).pauses == []


def test_a_job_that_ended_at_once_can_still_be_seen() -> None:
    drawn = timeline([attempt("node1", 0, 10_000), attempt("node1", 10_000, 10_000)], WorkTime([Stretch(0, 10_000)]))
    assert drawn.bars[-1].width > 0
    assert all(bar.x + bar.width <= 100 for bar in drawn.bars)


# Costs


@pytest.mark.parametrize(
    ("slurm", "gpus"),
    [
        (Slurm(), 0),
        (Slurm(gpus="1"), 1),
        (Slurm(gpus="h100:2"), 2),
        (Slurm(gpus="h100"), 1),
        (Slurm(gres="gpu:1"), 1),
        (Slurm(gres="lscratch:100,gpu:h100:2(S:0-1)"), 2),
        (Slurm(gres="lscratch:100"), 0),
        (Slurm(extra=("--nice=100", "--gpus-per-node=4")), 4),
        (Slurm(extra=("-G 2",)), 2),
        (Slurm(gpus="1", extra=("--gres=gpu:1",)), 1),
    ],
)
def test_how_many_gpus_a_job_asked_for(slurm: Slurm, gpus: int) -> None:
    assert gpus_asked_for(slurm) == gpus


def test_hours_of_jobs_nodes_and_gpus() -> None:
    attempts = [
        attempt("node1", 0, HOUR),
        attempt("node1", 0, HOUR, AttemptEnd.BROKEN_OFF),
        attempt("node2", HOUR, 2 * HOUR),
    ]
    costs = day_costs(attempts, {RUN_ID: Reserved(gpus=2, cores=12)})
    assert (costs.job_seconds, costs.node_seconds, costs.nodes) == (3 * HOUR, 2 * HOUR, 2)
    assert (costs.lost_attempts, costs.lost_seconds) == (1, HOUR)
    assert (costs.gpu_seconds, costs.core_seconds) == (6 * HOUR, 36 * HOUR)


def test_what_jobs_had_that_slurm_did_not_start_is_not_known() -> None:
    costs = day_costs([attempt("node1", 0, HOUR)], {})
    assert (costs.job_seconds, costs.reserved_seconds, costs.gpu_seconds) == (HOUR, 0, 0)


def test_what_the_jobs_of_a_run_had_is_in_its_frozen_settings(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = submit(state, ["12_00"], RUN_ID, executor="slurm")
    (folder / CONFIG_FILE).write_text(dump_toml(Settings(slurm=Slurm(gpus="a100:2", cpus_per_task=6)), frozen=True))
    submit(state, ["12_10"], "20250125T124000Z-0002", executor="slurm")  # its settings are gone
    submit(state, ["12_20"], "20250125T125000Z-0003")
    monkeypatch.chdir(state.parent)
    monkeypatch.setenv("AUDIOCTL_SLURM__GPUS", "8")
    runs = runs_of_day(state, DAY)
    assert reserved_by_runs(Path(state.name), runs) == {RUN_ID: Reserved(gpus=2, cores=6)}
