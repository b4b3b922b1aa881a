"""Parquet: what is in it, and that programs read it as it is. Each test has real journals and the real readers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import pandas
import pyarrow.dataset
import pyarrow.parquet
import pytest
from journals import AT, DAY, SLOT, ended, extracted, read_to_end, started, transcribed, uploaded, write_journal
from workspace import Workspace

from audioctl import parquet
from audioctl.clips import ClipRecord, Segment
from audioctl.exporting import ExportedClip
from audioctl.ledger.events import BatchTranscribed, ClipTranscribed
from audioctl.states import ClipState, ExitCode, Flag, Outcome

NEXT_DAY = "2025-01-26"
HOSTILE = ClipRecord(
    0,
    'radio/"a"\n../ü\\x00/日本.mp3',
    ClipState.STORED,
    sha256="0" * 64,
    duration_seconds=2.5,
    text="e\u0301té \0 \U0001f600 ' \" \u202e",
    segments=[Segment(0.0, 1.5, "été", -0.1, 0.0, 0.8), Segment(1.5, 2.5, "\0", -0.9, 0.1, 2.9, 0.4)],
    flags=[Flag.REPETITIVE, Flag.LOW_CONFIDENCE],
)


def export(workspace: Workspace, days: str = DAY) -> subprocess.CompletedProcess[str]:
    return workspace.audioctl("export", days, "--format", "parquet", "--out", "lake")


def files(workspace: Workspace) -> dict[str, bytes]:
    lake = workspace.folder / "lake"
    return {str(path.relative_to(lake)): path.read_bytes() for path in lake.rglob("*") if path.is_file()}


def write_day(workspace: Workspace, day: str = DAY) -> None:
    write_journal(workspace.state, "00_00", [started(), extracted(0), *transcribed(0), uploaded(0)], day)
    clip = ClipTranscribed(at=AT, batch=0, clip=HOSTILE)
    done = BatchTranscribed(at=AT, batch=0, stored=1, rejected=0, skipped=0, audio_seconds=2.5)
    write_journal(workspace.state, SLOT, [started(), extracted(0), clip, done, read_to_end(1), ended()], day)


def test_it_holds_what_jsonl_holds(workspace: Workspace) -> None:
    write_day(workspace)
    assert export(workspace).returncode == ExitCode.DONE
    lines = workspace.audioctl("export", DAY).stdout.splitlines()
    rows = pyarrow.dataset.dataset(workspace.folder / "lake", partitioning="hive").to_table().to_pylist()
    assert rows == [json.loads(line) for line in lines]
    assert rows[-1]["member"] == HOSTILE.member
    assert rows[0]["file_path"] == "/radio/x.opus"


def test_every_reader_takes_days_and_nested_columns_as_they_are(workspace: Workspace) -> None:
    write_day(workspace)
    write_day(workspace, NEXT_DAY)
    assert export(workspace, f"{DAY}..{NEXT_DAY}").returncode == ExitCode.DONE
    lake = workspace.folder / "lake"
    query = f"""
        select day::varchar, count(*), sum(len(segments)), max(segments[2].avg_logprob), max(flags[1])
          from '{lake}/*/*.parquet' where state = 'stored' group by day order by day
    """
    expected = [(day, 2, 2, -0.9, "repetitive") for day in (DAY, NEXT_DAY)]
    assert duckdb.execute(query).fetchall() == expected
    frame = pandas.read_parquet(lake)
    assert frame.groupby("day", observed=True).size().to_dict() == {DAY: 4, NEXT_DAY: 4}
    assert frame.segments.iloc[-1][1]["avg_logprob"] == -0.9
    assert list(frame["flags"].iloc[-1]) == ["repetitive", "low_confidence"]
    one_day = pyarrow.dataset.field("day") == NEXT_DAY
    assert pyarrow.dataset.dataset(lake, partitioning="hive").count_rows(filter=one_day) == 4


def test_the_same_day_gives_the_same_bytes_and_takes_the_place_of_the_last_ones(workspace: Workspace) -> None:
    write_day(workspace)
    export(workspace)
    first = files(workspace)
    assert list(first) == [f"day={DAY}/transcripts.parquet"]
    export(workspace)
    assert files(workspace) == first
    write_journal(workspace.state, "23_50", [started(), extracted(0), *transcribed(0)])
    export(workspace)
    assert list(files(workspace)) == list(first)
    assert pandas.read_parquet(workspace.folder / "lake").slot.nunique() == 3


def test_a_day_without_a_transcript_yet_is_an_empty_table(workspace: Workspace) -> None:
    write_journal(workspace.state, SLOT, [started(), extracted(0), ended(outcome=Outcome.DRAINED)])
    assert "0 clips" in export(workspace).stderr
    [path] = (workspace.folder / "lake").rglob("*.parquet")
    assert pyarrow.parquet.read_schema(path) == parquet.SCHEMA
    assert pyarrow.parquet.read_metadata(path).num_rows == 0


def test_days_of_a_range_that_nobody_worked_on_have_no_file(workspace: Workspace) -> None:
    write_day(workspace)
    assert export(workspace, "2025-01-20..2025-01-31").returncode == ExitCode.DONE
    assert list(files(workspace)) == [f"day={DAY}/transcripts.parquet"]
    unknown = export(workspace, "2024-12-31")
    assert (unknown.returncode, "Nothing is known" in unknown.stderr) == (ExitCode.USAGE, True)


def test_a_row_group_is_written_as_soon_as_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory does not depend on the length of the day."""
    monkeypatch.setattr(parquet, "ROW_GROUP_PARTS", 6)
    path = tmp_path / "day=2025-01-25" / "transcripts.parquet"
    written: list[int] = []

    def clips() -> Iterator[ExportedClip]:
        for number in range(7):
            written.append(sum(unfinished.stat().st_size for unfinished in path.parent.iterdir()))
            text = random.Random(number).randbytes(20_000).hex()  # more than Python keeps to itself
            yield ExportedClip(DAY, SLOT, msgspec.structs.replace(HOSTILE, text=text), None)

    assert parquet.write_day(clips(), path) == 7
    metadata = pyarrow.parquet.read_metadata(path)
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [2, 2, 2, 1]
    assert written[0] == written[1] < written[2] == written[3] < written[4]


def test_an_export_that_breaks_off_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "transcripts.parquet"
    parquet.write_day([ExportedClip(DAY, SLOT, HOSTILE, None)], path)
    before = path.read_bytes()

    def interrupted() -> Iterator[ExportedClip]:
        yield ExportedClip(DAY, SLOT, HOSTILE, None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parquet.write_day(interrupted(), path)
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [(path.name, before)]


def test_ctrl_c_leaves_nothing_behind(workspace: Workspace) -> None:
    write_day(workspace)
    os.mkfifo(workspace.state / "journals" / DAY / "23_50.jsonl")  # whoever reads it waits here
    command = ("export", DAY, "--format", "parquet", "--out", "lake")
    process = workspace.start(*command)
    with (workspace.state / "journals" / DAY / "23_50.jsonl").open("wb"):  # is open as soon as it is being read
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode not in (ExitCode.DONE, ExitCode.USAGE)
    assert files(workspace) == {}


def test_a_full_disk_is_said_and_leaves_nothing_behind(workspace: Workspace) -> None:
    write_day(workspace)
    process = workspace.start("export", DAY, "--format", "parquet", "--out", "lake", largest_file=100)
    _, stderr = process.communicate()
    assert (process.returncode, "cannot be written: File too large" in stderr) == (ExitCode.USAGE, True), stderr
    assert files(workspace) == {}


@pytest.mark.parametrize("arguments", [[], ["--out", "lake", "--slot", SLOT]])
def test_it_takes_a_folder_and_whole_days(workspace: Workspace, arguments: list[str]) -> None:
    write_day(workspace)
    result = workspace.audioctl("export", DAY, "--format", "parquet", *arguments)
    assert (result.returncode, "--out FOLDER" in result.stderr) == (ExitCode.USAGE, True)


def test_without_pyarrow_it_says_what_to_type(workspace: Workspace) -> None:
    write_day(workspace)
    hide = "import sys; sys.modules['pyarrow'] = None; from audioctl.cli import main; main()"
    command = [sys.executable, "-c", hide, "--config", str(workspace.write_configuration())]
    process = workspace.start_program([*command, "export", DAY, "--format", "parquet", "--out", "lake"])
    _, stderr = process.communicate()
    assert process.returncode == ExitCode.CONFIGURATION
    assert "pip install 'audioctl[parquet]'" in stderr
    assert "Traceback" not in stderr
    assert not (workspace.folder / "lake").exists()
