"""``audioctl metrics``: what Prometheus is told of the work, and how the file comes to be."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import pytest
from journals import DAY
from prometheus_client.parser import text_string_to_metric_families

from audioctl import __version__
from audioctl.cli import main
from audioctl.cli.metrics import registry_of
from audioctl.executors.registry import look_at_jobs
from audioctl.ledger.absorb import refresh
from audioctl.ledger.models import open_ledger
from audioctl.ledger.queries import DayStatus, all_days
from audioctl.states import ArchiveState

NEXT = "2025-01-26"
ROOT = Path(__file__).parent.parent


class Command:
    """``audioctl metrics``, in this process."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._state, self._monkeypatch, self._capsys = state, monkeypatch, capsys

    def __call__(self, *arguments: str) -> str:
        """What it prints."""
        self._monkeypatch.setattr(sys, "argv", ["audioctl", "metrics", "--state-dir", str(self._state), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return self._capsys.readouterr().out

    def refuses(self, *arguments: str) -> str:
        """What it says."""
        self._monkeypatch.setattr(sys, "argv", ["audioctl", "metrics", "--state-dir", str(self._state), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return self._capsys.readouterr().err


@pytest.fixture
def metrics(eventful: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(eventful, monkeypatch, capsys)


def samples(text: str) -> dict[str, float]:
    """By name and labels, as they are written."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.fixture
def days(eventful: Path) -> list[DayStatus]:
    """As the ledger has them."""
    with open_ledger(eventful) as database:
        refresh(database, eventful, partial(look_at_jobs, eventful, pytest.fail))
        return all_days()


def test_all_days_are_summed_and_each_of_the_newest_is_told(metrics: Command, days: list[DayStatus]) -> None:
    told = samples(metrics())
    assert told[f"audioctl_build_info{{version={__version__}}}"] == 1
    assert [day.day for day in days] == [DAY, NEXT]
    for state in ArchiveState:
        counts = [getattr(day.totals, state) for day in days]
        assert told[f"audioctl_archives{{state={state}}}"] == sum(counts)
        assert [told[f"audioctl_day_archives{{day={day.day},state={state}}}"] for day in days] == counts
    for name, count in {
        "clips{state=stored}": "stored",
        "clips{state=rejected}": "rejected",
        "clips{state=skipped}": "skipped",
        "audio_seconds{}": "audio_seconds",
        "owed_files{}": "owed_upload",
        "owed_rows{}": "owed_record",
    }.items():
        assert told[f"audioctl_{name}"] == sum(getattr(day.totals, count) for day in days) > 0
    newest = max(filter(None, (day.finished_at for day in days)))
    told_time = told["audioctl_newest_archive_finished_timestamp_seconds{}"]
    assert told_time == datetime.fromisoformat(newest).timestamp()


def test_a_day_has_its_speed(days: list[DayStatus]) -> None:
    day = msgspec.structs.replace(
        days[1], state=ArchiveState.DONE, started_at="2025-01-26T08:00:00Z", finished_at="2025-01-26T08:01:40Z"
    )
    day.totals.audio_seconds = 250.0
    assert registry_of([day], 1).get_sample_value("audioctl_day_speed_ratio", {"day": NEXT}) == 2.5


@pytest.mark.parametrize(("count", "told"), [("0", set()), ("1", {NEXT}), ("2", {DAY, NEXT}), ("9", {DAY, NEXT})])
def test_only_so_many_days_get_series_of_their_own(metrics: Command, count: str, told: set[str]) -> None:
    text = metrics("--days", count)
    assert set(re.findall(r'day="([^"]+)"', text)) == told
    assert samples(text)["audioctl_audio_seconds{}"] > 0


def test_names_keep_to_the_conventions(metrics: Command) -> None:
    for family in text_string_to_metric_families(metrics()):
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        assert re.fullmatch(r"audioctl_[a-z_]+(?<!_total)(?<!_count)(?<!_sum)", family.name)


def test_the_file_is_replaced_as_a_whole_and_anybody_may_read_it(metrics: Command, tmp_path: Path) -> None:
    folder = tmp_path / "textfile"
    folder.mkdir()
    file = folder / "audioctl.prom"
    file.write_text("what was there before\n")
    with file.open() as reader:
        assert metrics("--out", str(file)) == ""
        assert reader.read() == "what was there before\n", "who reads it meanwhile has half a file"
    assert samples(file.read_text()).keys() == samples(metrics()).keys()
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(folder.iterdir()) == [file]


def test_what_cannot_be_written_is_told(metrics: Command, tmp_path: Path) -> None:
    assert "node_exporter passes over" in metrics.refuses("--out", str(tmp_path / "audioctl.txt"))
    assert "cannot be written: No such file" in metrics.refuses("--out", str(tmp_path / "gone/audioctl.prom"))


def test_the_documentation_names_every_metric_and_no_other(metrics: Command) -> None:
    text = (ROOT / "docs/monitoring.md").read_text()
    named = set(re.findall(r"audioctl_[a-z_]+[a-z]", text))
    assert named == {sample.partition("{")[0] for sample in samples(metrics())}
