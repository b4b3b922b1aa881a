"""Where the time of a job goes: measured where it is spent, kept in the journal, and told with the setting to turn."""

from __future__ import annotations

import json
import re
import select
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from journals import ended, extracted, read_to_end, started, transcribed, uploaded, write_journal
from uploads import REAL_RSYNC, StandIn
from workspace import DAY, SLOT, CountingEngine, Workspace

from audioctl.bounds import Part, find_slowness
from audioctl.clips import ConvertedClip, MemberBatch, Window, WindowTranscript
from audioctl.engines.base import Engine
from audioctl.errors import Drained
from audioctl.ledger.events import BatchTranscribed, Event
from audioctl.ledger.journal import journal_path, newest_timing, read_entries
from audioctl.pipeline import effects, reading, run
from audioctl.pipeline.clip_tasks import ClipTask, convert_clip
from audioctl.pipeline.convert import Converter
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.extract import read_archive
from audioctl.pipeline.job import ArchiveJob, Surroundings
from audioctl.pipeline.run import process_archive
from audioctl.states import ExitCode, Outcome, Stage
from audioctl.timing import Timing

CLIPS, BATCHES = 30, 6


class FixedCost:
    """Hears nothing, and takes its time for it."""

    def __init__(self, seconds_a_batch: float = 0.0) -> None:
        self.model = "stand-in"
        self.busy_seconds = 0.0
        self._seconds_a_batch = seconds_a_batch

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        time.sleep(self._seconds_a_batch)
        return [WindowTranscript([], "en", 0.5) for _ in windows]


class Eventful(FixedCost):
    """Something happens before it hears the batch of this number, from 1."""

    def __init__(self, batch: int, happens: Callable[[], object]) -> None:
        super().__init__()
        self._batches_until_then = batch
        self._happens = happens

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        self._batches_until_then -= 1
        if self._batches_until_then == 0:
            self._happens()
        return super().transcribe(windows)


@pytest.fixture
def clips(workspace: Workspace) -> Workspace:
    workspace.write_clips(CLIPS)
    return workspace


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Of which the recogniser has heard all, not too fast; for tests that only look."""
    workspace = Workspace(tmp_path_factory.mktemp("worked"))
    workspace.write_clips(CLIPS)
    workspace.process(engine=FixedCost(0.6))
    return workspace


def timings(workspace: Workspace) -> list[Timing]:
    """Of each line that tells, in order."""
    found = [getattr(entry.event, "timing", None) for entry in read_entries(workspace.journal)]
    return [timing for timing in found if timing is not None]


def bound(workspace: Workspace) -> Part:
    return find_slowness([timings(workspace)[-1]]).bound.part


# What the journal tells


def test_each_batch_and_the_end_of_an_attempt_tell_how_time_was_spent(worked: Workspace) -> None:
    telling = [event["event"] for event in worked.events() if event.get("timing")]
    assert telling == ["batch_transcribed"] * BATCHES + ["attempt_ended"]
    lines = timings(worked)
    assert [line.batches for line in lines] == [1, 2, 3, 4, 5, 6, 6]
    assert [line.clips for line in lines] == [5, 10, 15, 20, 25, 30, 30]
    audio_seconds = sum(batch.audio_seconds for batch in worked.progress.batches.values())
    assert lines[-1].audio_seconds == pytest.approx(audio_seconds, abs=0.1)
    assert (lines[-1].num_workers, lines[-1].max_concurrent_uploads) == (2, 8)
    assert lines[-1].transcribe_seconds >= BATCHES * 0.6
    grows = ("elapsed_seconds", "transcribe_seconds", "extract_seconds", "convert_seconds", "upload_seconds")
    for name in grows:
        values = [getattr(line, name) for line in lines]
        assert values == sorted(values), name
    assert lines[-1].convert_before_seconds + lines[-1].convert_seconds > 0
    assert lines[-1].upload_seconds > 0


def test_the_parts_of_the_time_of_a_jobs_thread_are_never_more_than_there_is(worked: Workspace) -> None:
    for line in timings(worked):
        parts = [
            line.transcribe_seconds,
            line.wait_extract_seconds,
            line.wait_convert_seconds,
            line.wait_upload_seconds,
            line.journal_seconds,
        ]
        assert sum(parts) <= line.between_seconds + 0.01
        assert line.load_seconds <= line.start_seconds <= line.elapsed_seconds
    assert timings(worked)[-1].finish_seconds > 0


def test_the_depths_of_the_queues_are_those_of_the_moment(worked: Workspace) -> None:
    lines = timings(worked)
    # Three batches are between reading and transcribing, as far as there are so many.
    assert max(line.clips_ahead for line in lines) in (10, 15)
    assert lines[-1].clips_ahead == 0
    assert lines[0].owed_upload == 0
    assert lines[-1].owed_upload == 0


def test_a_journal_without_it_is_as_good(clips: Workspace) -> None:
    clips.process(engine=FixedCost())
    lines = [json.loads(line) for line in clips.journal.read_bytes().splitlines()]
    for line in lines:
        line.pop("timing", None)
    clips.journal.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    assert timings(clips) == []
    assert clips.progress.is_complete
    engine = CountingEngine()
    clips.process(engine=engine)
    assert engine.heard == []


def test_the_ledger_does_not_grow_by_it(worked: Workspace) -> None:
    worked.audioctl("status", DAY)
    assert b"transcribe_seconds" in worked.journal.read_bytes()
    assert b"transcribe_seconds" not in (worked.state / "ledger.db").read_bytes()


def test_a_resumed_archive_tells_of_each_attempt_for_itself(clips: Workspace) -> None:
    drain = DrainRequest(60)
    with pytest.raises(Drained):
        clips.process(engine=Eventful(3, drain.request), drain=drain)
    first = timings(clips)
    assert [line.batches for line in first] == [1, 2, 3, 3]
    clips.process(engine=FixedCost())
    second = timings(clips)[len(first) :]
    assert [line.batches for line in second] == [1, 2, 3, 3]
    assert second[0].elapsed_seconds < first[-1].elapsed_seconds + second[-1].elapsed_seconds
    batches = [entry.event.batch for entry in read_entries(clips.journal) if isinstance(entry.event, BatchTranscribed)]
    assert batches == [0, 1, 2, 3, 4, 5]
    assert newest_timing(clips.journal) == second[-1]


def test_an_attempt_that_transcribed_nothing_does_not_hide_the_one_that_did(clips: Workspace) -> None:
    clips.storage.write_text("a file, not a folder")
    clips.process(engine=FixedCost())
    first = timings(clips)[-1]
    clips.storage.unlink()
    clips.process(engine=FixedCost())
    assert timings(clips)[-1].batches == 0
    assert newest_timing(clips.journal) == first


def test_what_an_earlier_version_transcribed_tells_nothing(tmp_path: Path) -> None:
    events: list[Event] = [started(), extracted(0), *transcribed(0), uploaded(0), read_to_end(1), ended()]
    write_journal(tmp_path, SLOT, events)
    assert newest_timing(journal_path(tmp_path, DAY, SLOT)) is None
    assert newest_timing(tmp_path / "no journal") is None


def test_a_running_job_tells_as_of_its_last_batch(tmp_path: Path) -> None:
    done = msgspec.structs.replace(transcribed(0)[-1], timing=Timing(batches=1, clips=1))
    write_journal(tmp_path, SLOT, [started(), extracted(0), *transcribed(0)[:-1], done, extracted(1), uploaded(0)])
    assert newest_timing(journal_path(tmp_path, DAY, SLOT)) == Timing(batches=1, clips=1)


# What bounds a job, in real ones


def test_a_slow_recogniser_is_named(worked: Workspace) -> None:
    assert bound(worked) is Part.TRANSCRIBE


def convert_slowly(task: ClipTask) -> ConvertedClip:
    time.sleep(0.3)
    return convert_clip(task)


def test_slow_conversion_is_named(clips: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Converter", partial(Converter, work=convert_slowly))
    clips.process(engine=FixedCost())
    assert bound(clips) is Part.CONVERT


def test_slow_reading_is_named(clips: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_slowly(*arguments: Any, **keywords: Any) -> Iterator[MemberBatch]:
        for batch in read_archive(*arguments, **keywords):
            time.sleep(0.8)
            yield batch

    monkeypatch.setattr(reading, "read_archive", read_slowly)
    clips.process(engine=FixedCost())
    assert bound(clips) is Part.EXTRACT


def test_slow_uploads_that_hold_the_recogniser_back_are_named(
    clips: Workspace, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write(f'sleep 1; exec {REAL_RSYNC} "$@"')
    monkeypatch.setattr(effects, "WAITING_BATCHES", 1)
    clips.configure("upload", max_concurrent_uploads=1)
    clips.process(engine=FixedCost())
    assert timings(clips)[-1].wait_upload_seconds > 0
    assert bound(clips) is Part.UPLOAD


def test_slow_uploads_that_a_job_only_waits_for_at_its_end_are_named(clips: Workspace, stand_in: StandIn) -> None:
    stand_in.write(f'sleep 1; exec {REAL_RSYNC} "$@"')
    clips.configure("upload", max_concurrent_uploads=1)
    clips.process(engine=FixedCost())
    assert timings(clips)[-1].wait_upload_seconds < 1
    assert bound(clips) is Part.UPLOAD


def test_a_model_that_loads_for_longer_than_it_works_is_named(clips: Workspace) -> None:
    def load() -> Engine:
        time.sleep(3)
        return FixedCost()

    around = Surroundings(load, Counters(), DrainRequest(60), clips.messages.append)
    process_archive(ArchiveJob(DAY, SLOT, clips.archive), clips.settings, around)
    assert bound(clips) is Part.START
    assert "paths.models" in find_slowness([timings(clips)[-1]]).bound.settings


# What is told


def test_status_says_what_bounds_a_day(worked: Workspace) -> None:
    result = worked.audioctl("status", DAY, "--why-slow")
    assert result.returncode == ExitCode.DONE, result.stderr
    titles, *rows, about, sentence = result.stdout.splitlines()
    assert titles.split() == ["part", "of", "the", "time", "seconds", "busy", "clips/s", "×", "real", "time"]
    assert [row.split()[0] for row in rows] == ["start", "extract", "convert", "transcribe", "journal", "upload"]
    assert sum(int(row.split()[1].rstrip("%")) for row in rows) in range(95, 104)
    assert max(map(len, (titles, *rows))) <= 80
    assert re.fullmatch(rf"{DAY}: \d:\d\d of jobs' time for 1 archives \(30 clips, \d+ s of audio\)\.", about)
    assert sentence.startswith("The recogniser bounds it: it was busy")
    assert worked.audioctl("status", "--why-slow").stdout == result.stdout
    assert worked.audioctl("status", "2025-01-01..2025-12-31", "--why-slow").stdout == result.stdout


def test_so_does_its_json_beside_what_it_says_anyway(worked: Workspace) -> None:
    plain, slow = (
        json.loads(worked.audioctl("status", DAY, "--json", *more).stdout)["days"][0] for more in ([], ["--why-slow"])
    )
    told = slow.pop("why_slow")
    assert slow == plain
    assert (told["archives"], told["batches"], told["clips"]) == (1, BATCHES, CLIPS)
    assert told["bound"]["part"] == "transcribe"
    assert "slurm.max_concurrent" in told["bound"]["settings"]
    assert [part["part"] for part in told["parts"]] == [part.value for part in Part]


def test_nothing_is_made_up_where_nothing_is_known(workspace: Workspace) -> None:
    for arguments in ([], [DAY]):
        result = workspace.audioctl("status", *arguments, "--why-slow")
        assert (result.returncode, result.stdout) == (ExitCode.DONE, "")
        assert "Nothing tells yet how its time is spent" in result.stderr
    write_journal(workspace.state, SLOT, [started(), extracted(0), *transcribed(0), ended(outcome=Outcome.OWED)])
    told = json.loads(workspace.audioctl("status", DAY, "--why-slow", "--json").stdout)
    assert told["days"][0]["why_slow"] is None


def test_a_damaged_journal_hides_no_other(workspace: Workspace, worked: Workspace) -> None:
    shutil.copytree(worked.state, workspace.state)
    damaged = journal_path(workspace.state, DAY, "00_00")
    damaged.write_bytes(b"no event\n")
    result = workspace.audioctl("status", DAY, "--why-slow")
    assert "for 1 archives" in result.stdout
    assert f"The journal {damaged} is damaged" in result.stderr


@pytest.mark.parametrize("other", ["--failed", "--watch"])
def test_it_is_told_once_and_of_all(other: str, workspace: Workspace) -> None:
    result = workspace.audioctl("status", DAY, "--why-slow", other)
    assert result.returncode == ExitCode.USAGE
    assert f"--why-slow does not go with {other}" in result.stderr


def test_the_last_line_of_a_job_says_it_in_a_few_words(clips: Workspace) -> None:
    words = r"the recogniser|conversion|start-up|uploads|reading the archive"
    assert re.search(rf"× real time, bound by ({words})\.$", clips.process_tar().stdout.strip())
    assert "bound by" not in clips.process_tar().stdout  # there was nothing to do


# The recogniser never waits for what comes behind it


def test_no_upload_is_on_the_recognisers_path(clips: Workspace, stand_in: StandIn) -> None:
    """rsync gets through only when the recogniser has got its last batch."""
    gate = clips.folder / "gate"
    stand_in.write(f'until [ -e {gate} ]; do sleep 0.05; done; exec {REAL_RSYNC} "$@"')
    clips.configure("upload", upload_timeout=20)
    clips.process(engine=Eventful(BATCHES, gate.touch))
    names = [name for name in clips.event_names() if name in ("batch_transcribed", "batch_uploaded", "stage_failed")]
    assert names[: BATCHES - 1] == ["batch_transcribed"] * (BATCHES - 1)
    assert sorted(names[BATCHES - 1 :]) == ["batch_transcribed"] + ["batch_uploaded"] * BATCHES


def test_no_row_is_on_the_recognisers_path(clips: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that takes connections and never says a word is still waited for when the last batch is heard."""
    clips.configure("database", enabled=True)
    with ExitStack() as open_sockets:
        server = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.setblocking(False)
        port = server.getsockname()[1]
        monkeypatch.setenv("DB_CREDS", f"host=127.0.0.1 port={port} dbname=radio user=radio connect_timeout=50")
        still_waiting: list[bool] = []

        def look_then_hang_up() -> None:
            while select.select([server], [], [], 0)[0]:
                connection = open_sockets.enter_context(server.accept()[0])
                connection.setblocking(False)
                connection.recv(1024)
                still_waiting.append(not select.select([connection], [], [], 0)[0])
            open_sockets.close()

        clips.process(engine=Eventful(BATCHES, look_then_hang_up))
    assert still_waiting == [True, True], "the day's row of the queue, and the first batch"
    assert clips.event_names().count("batch_transcribed") == BATCHES
    assert clips.progress.owed(Stage.RECORD) == CLIPS
