"""Storage, database and disks that are away, for the whole job or for a part of it: nothing is lost or done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg
import pytest
from archives import write_archive
from sshd import Sshd
from workspace import DAY, CountingEngine, Workspace, spoken, wait_until

from audioctl.audio.decode import UnusableClipError
from audioctl.cli.process import exit_code_for
from audioctl.clips import Window, WindowTranscript
from audioctl.pipeline import convert, effects
from audioctl.pipeline.clip_tasks import ClipTask
from audioctl.states import ExitCode, Reason, Stage

if TYPE_CHECKING:
    from postgres import PostgresServer

CLIPS, BATCHES = 30, 6


class EventfulEngine(CountingEngine):
    """Something happens before it hears the batch of this number, from 0."""

    def __init__(self, happenings: dict[int, Callable[[], object]]) -> None:
        super().__init__()
        self._happenings = happenings
        self._batch = 0

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        self._happenings.get(self._batch, lambda: None)()
        self._batch += 1
        return super().transcribe(windows)


def after(workspace: Workspace, event_name: str, happening: Callable[[], object]) -> Callable[[], object]:
    """Lets something happen once the journal holds an event: uploads go on beside the engine, as fast as they can."""

    def wait_then_happen() -> None:
        wait_until(lambda: event_name in workspace.event_names(), event_name)
        happening()

    return wait_then_happen


@pytest.fixture
def server(workspace: Workspace) -> Iterator[Sshd]:
    """Not started. The workspace's files go there."""
    sshd = Sshd(workspace.folder / "sshd")
    workspace.configure(
        "upload",
        destination=f"{sshd.login}:{workspace.storage}",
        ssh_key=str(sshd.client_key),
        ssh_options=tuple(sshd.options),
    )
    workspace.write_clips(CLIPS)
    yield sshd
    sshd.stop()


@pytest.fixture
def recording(workspace: Workspace, database: str, postgres: PostgresServer) -> Iterator[str]:
    """The workspace's rows go to this database; its server may be stopped."""
    workspace.configure("database", enabled=True)
    assert workspace.audioctl("db", "upgrade").returncode == ExitCode.DONE
    workspace.write_clips(CLIPS)
    yield database
    postgres.stop()
    postgres.start()


def rows(database: str) -> list[tuple[str, str, str]]:
    with psycopg.connect(database) as connection:
        return connection.execute(
            "select member, transcript_text, file_path from audio_files"
            " join transcripts on audio_file_id = audio_files.id order by member"
        ).fetchall()


def expected_rows(workspace: Workspace, storage: Path | None = None) -> list[tuple[str, str, str]]:
    return sorted(
        (record.member, str(record.text), f"{storage or workspace.storage}/{record.storage_path}")
        for record in workspace.records().values()
    )


def owed(workspace: Workspace) -> tuple[int, int]:
    """(files, rows), as ``status --json`` tells them."""
    result = workspace.audioctl("status", DAY, "--json")
    totals = json.loads(result.stdout)["days"][0]["totals"]
    return totals["owed_upload"], totals["owed_record"]


def assert_the_next_job_only_sends(workspace: Workspace) -> None:
    engine = CountingEngine()
    assert exit_code_for(workspace.process(engine=engine)) == ExitCode.DONE
    assert engine.heard == []
    workspace.assert_all_was_heard()
    assert owed(workspace) == (0, 0)


def test_files_wait_for_storage_that_is_down_and_are_not_transcribed_again(workspace: Workspace, server: Sshd) -> None:
    assert exit_code_for(workspace.process()) == ExitCode.LOOK
    assert owed(workspace) == (CLIPS, 0)
    assert workspace.scratch_content() == []
    assert exit_code_for(workspace.process()) == ExitCode.LOOK
    assert any("refuses the connection" in message for message in workspace.messages)
    assert owed(workspace) == (CLIPS, 0)
    with server:
        assert_the_next_job_only_sends(workspace)


def test_storage_that_comes_back_in_time_costs_nothing(workspace: Workspace, server: Sshd) -> None:
    engine = EventfulEngine({BATCHES - 1: after(workspace, "stage_failed", server.start)})
    assert exit_code_for(workspace.process(engine=engine)) == ExitCode.DONE
    assert any("once more" in message for message in workspace.messages)
    workspace.assert_all_was_heard()


def test_storage_that_goes_down_midway_is_owed_the_rest(workspace: Workspace, server: Sshd) -> None:
    server.start()
    engine = EventfulEngine({3: after(workspace, "batch_uploaded", server.stop)})
    assert exit_code_for(workspace.process(engine=engine)) == ExitCode.LOOK
    files, _ = owed(workspace)
    assert 0 < files < CLIPS
    assert len(workspace.files()) >= CLIPS - files  # rsync's 0 may have got lost
    with server:
        assert_the_next_job_only_sends(workspace)


def test_an_outage_does_not_fill_the_scratch_disk(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, waiting, under_way = 2, 1, 6
    monkeypatch.setattr(effects, "KEPT_BATCHES", kept)
    monkeypatch.setattr(effects, "WAITING_BATCHES", waiting)
    workspace.write_clips(100)
    workspace.storage.write_text("a file, not a folder")
    on_scratch: list[int] = []

    def count_files() -> None:
        on_scratch.append(sum(1 for path in workspace.scratch.rglob("*.opus")))

    workspace.process(engine=EventfulEngine(dict.fromkeys(range(20), count_files)))
    assert len(on_scratch) == 20
    assert max(on_scratch) <= (kept + waiting + under_way) * 5
    workspace.storage.unlink()
    assert_the_next_job_only_sends(workspace)


def test_rows_wait_for_a_database_that_is_down(workspace: Workspace, recording: str, postgres: PostgresServer) -> None:
    postgres.stop()
    assert exit_code_for(workspace.process()) == ExitCode.LOOK
    assert owed(workspace) == (0, CLIPS)
    postgres.start()
    workspace.archive.unlink()  # what is owed is in the journal
    assert_the_next_job_only_sends(workspace)
    assert rows(recording) == expected_rows(workspace)


def test_a_database_that_goes_and_comes_back_costs_nothing(
    workspace: Workspace, recording: str, postgres: PostgresServer
) -> None:
    workspace.configure("database", give_up_after=30)
    engine = EventfulEngine({2: postgres.kill, 4: postgres.start})
    assert exit_code_for(workspace.process(engine=engine)) == ExitCode.DONE
    workspace.assert_all_was_heard()
    assert rows(recording) == expected_rows(workspace)


def test_a_database_that_goes_down_midway_is_owed_the_rest(
    workspace: Workspace, recording: str, postgres: PostgresServer
) -> None:
    engine = EventfulEngine({3: postgres.kill})
    assert exit_code_for(workspace.process(engine=engine)) == ExitCode.LOOK
    files, owed_rows = owed(workspace)
    assert (files, owed_rows > 0) == (0, True)
    postgres.start()
    assert_the_next_job_only_sends(workspace)
    assert rows(recording) == expected_rows(workspace)


def test_storage_and_database_may_both_be_down(
    workspace: Workspace, server: Sshd, recording: str, postgres: PostgresServer
) -> None:
    postgres.stop()
    assert exit_code_for(workspace.process()) == ExitCode.LOOK
    assert owed(workspace) == (CLIPS, CLIPS)
    postgres.start()
    assert exit_code_for(workspace.process()) == ExitCode.LOOK
    assert [path for _, _, path in rows(recording)] == [None] * CLIPS, "a path before its file arrived"
    with server:
        assert_the_next_job_only_sends(workspace)
    assert rows(recording) == expected_rows(workspace)
    done = [workspace.event_names().count(f"batch_{stage}") for stage in ("recorded", "uploaded", "confirmed")]
    assert done == [BATCHES] * 3, "something was sent twice"


def test_files_are_recorded_where_they_were_sent_to(
    workspace: Workspace, recording: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.stop()
    workspace.process()
    postgres.start()
    sent_to = workspace.storage
    workspace.configure("upload", destination=str(tmp_path / "new storage"))
    assert_the_next_job_only_sends(workspace)
    assert rows(recording) == expected_rows(workspace, sent_to)


def test_rows_owed_of_an_archive_that_was_replaced_are_those_of_the_new_one(
    workspace: Workspace, recording: str, postgres: PostgresServer
) -> None:
    """Shorter than before, and the same only at its beginning."""
    postgres.stop()
    workspace.process()
    entries, said = spoken(5)
    others, others_said = spoken(3, first=CLIPS)
    write_archive(workspace.archive, [*entries, *others])
    workspace.said = said | others_said
    engine = CountingEngine()
    assert exit_code_for(workspace.process(engine=engine)) == ExitCode.LOOK
    assert sorted(engine.heard) == [5, 6, 7]
    assert owed(workspace) == (0, 8)
    postgres.start()
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    assert workspace.progress.is_complete
    assert rows(recording) == expected_rows(workspace)
    assert {name: record.text for name, record in workspace.records().items()} == workspace.said


def refuse_to_copy(task: ClipTask) -> NoReturn:
    raise UnusableClipError(Reason.UNDECODABLE, f"no copy of {task.member.name}")


def test_a_copy_that_cannot_be_made_again_stays_owed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.write_clips(7)
    workspace.storage.write_text("a file, not a folder")
    workspace.process()
    workspace.storage.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(convert, "copy_clip", refuse_to_copy)
        assert exit_code_for(workspace.process()) == ExitCode.LOOK
    assert workspace.progress.owed(Stage.UPLOAD) == 7
    assert "no copy of radio/003.mp3" in str(workspace.progress.batches[0].error)
    assert_the_next_job_only_sends(workspace)


def test_a_full_disk_under_the_journal_is_told_and_loses_nothing(workspace: Workspace) -> None:
    workspace.write_clips(100)
    result = workspace.process_tar(largest_file=40_000)
    assert result.returncode == ExitCode.FAILED
    assert f"The journal {workspace.journal} cannot be written" in result.stderr
    assert "then run `audioctl resume`" in result.stderr
    assert "Traceback" not in result.stderr
    assert workspace.scratch_content() == []
    workspace.wait_until_no_process_is_left()
    transcribed = {clip.ordinal for clip in workspace.records().values()}
    assert 0 < len(transcribed) < 100
    engine = CountingEngine()
    workspace.process(engine=engine)
    assert sorted(engine.heard) == sorted(set(range(100)) - transcribed)
    workspace.assert_all_was_heard()
