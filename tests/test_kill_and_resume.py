"""kill -9 in every write of the journal, and at any other moment: a second job finishes, and nothing is lost or twice.

The jobs that are killed are real ones, with their workers and their rsyncs; see ``killed_job``.
"""

from __future__ import annotations

import random
import signal
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from subprocess import TimeoutExpired

import psycopg
import pytest
from workspace import DAY, PATIENCE_SECONDS, SLOT, CountingEngine, Workspace

from audioctl.clips import ClipRecord
from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.states import ExitCode

CLIPS, BATCH_SIZE = 6, 2
KILLED_JOB = str(Path(__file__).with_name("killed_job.py"))

Row = tuple[object, ...]
Outcome = tuple[dict[str, ClipRecord], dict[str, bytes], list[Row]]
"""Everything that a job leaves behind: the records that count, the files, the rows."""


@pytest.fixture
def upgraded(database: str) -> str:
    with connect() as connection:
        schema.upgrade(connection)
    return database


def new_workspace(folder: Path) -> Workspace:
    folder.mkdir()
    workspace = Workspace(folder)
    workspace.configure("extract", stream_batch_size=BATCH_SIZE)
    workspace.configure("database", enabled=True)
    workspace.write_clips(CLIPS)
    return workspace


def outcome(workspace: Workspace, database: str) -> Outcome:
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select slot, member, replace(file_path, %s, ''), file_size_bytes, transcript_text, ordinal"
            " from audio_files left join transcripts on audio_file_id = audio_files.id order by ordinal",
            [str(workspace.storage)],
        ).fetchall()
    return workspace.records(), workspace.files(), rows


@pytest.fixture
def undisturbed(upgraded: str, tmp_path: Path) -> Outcome:
    """Of a job that nobody kills."""
    workspace = new_workspace(tmp_path / "undisturbed")
    workspace.process()
    workspace.assert_all_was_heard()
    result = outcome(workspace, upgraded)
    assert [len(part) for part in result] == [CLIPS] * 3
    return result


def forget_rows(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("truncate audio_files cascade")


def assert_the_next_job_finishes(workspace: Workspace, undisturbed: Outcome, database: str) -> None:
    workspace.wait_until_no_process_is_left()
    transcribed = {clip.ordinal for clip in workspace.records().values()}
    engine = CountingEngine()
    assert workspace.process(engine=engine).is_complete
    assert sorted(engine.heard) == sorted(set(range(CLIPS)) - transcribed)
    assert outcome(workspace, database) == undisturbed
    workspace.assert_all_was_heard()


def assert_one_more_job_has_nothing_to_do(workspace: Workspace, undisturbed: Outcome, database: str) -> None:
    before = workspace.journal.read_bytes()
    engine = CountingEngine()
    assert workspace.process(engine=engine).is_complete
    assert workspace.journal.read_bytes().startswith(before)
    assert workspace.event_names()[-2:] == ["attempt_started", "attempt_ended"]
    assert len(workspace.event_names()) == before.count(b"\n") + 2
    assert engine.heard == []
    assert outcome(workspace, database) == undisturbed


def process_tar_killed_halfway_through(number: int, workspace: Workspace) -> bool:
    """The write of this number; whether the job got as far as that."""
    arguments = ["--config", str(workspace.write_configuration()), "process-tar", DAY, str(workspace.archive), SLOT]
    process = workspace.start_program([sys.executable, "-P", KILLED_JOB, str(number), *arguments])
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode in (ExitCode.DONE, -signal.SIGKILL), stderr
    return process.returncode == -signal.SIGKILL


def test_a_job_killed_halfway_through_any_write_of_its_journal_is_finished_by_the_next(
    upgraded: str, undisturbed: Outcome, tmp_path: Path
) -> None:
    """Each of them; ``tests/faults`` kills before and behind writes."""
    for number in count(1):
        forget_rows(upgraded)
        workspace = new_workspace(tmp_path / str(number))
        if not process_tar_killed_halfway_through(number, workspace):
            break
        assert_the_next_job_finishes(workspace, undisturbed, upgraded)
        assert_one_more_job_has_nothing_to_do(workspace, undisturbed, upgraded)
    # The beginning, the end and the archive, and of each batch: extracted, given to the recogniser, transcribed,
    # recorded, uploaded, confirmed.
    assert number - 1 == 3 + 6 * CLIPS // BATCH_SIZE


@pytest.mark.parametrize("seed", range(3))
def test_jobs_killed_again_and_again_at_any_moment_are_finished_by_the_last(
    seed: int, upgraded: str, undisturbed: Outcome, tmp_path: Path
) -> None:
    forget_rows(upgraded)
    moments = random.Random(seed)
    workspace = new_workspace(tmp_path / "killed")
    for _ in range(4):
        process = workspace.start("process-tar", DAY, str(workspace.archive), SLOT)
        with suppress(TimeoutExpired):
            process.wait(moments.uniform(0.2, 1.5))
        process.kill()
        process.communicate()
    assert_the_next_job_finishes(workspace, undisturbed, upgraded)
    assert_one_more_job_has_nothing_to_do(workspace, undisturbed, upgraded)
