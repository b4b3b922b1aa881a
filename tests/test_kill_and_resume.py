"""kill -9 at every write of the journal, and at any other moment: a second job finishes, and nothing is lost or twice.

The jobs that are killed are real ones, with their workers and their rsyncs; see ``killed_job``.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from subprocess import TimeoutExpired

import psycopg
import pytest
from workspace import DAY, SLOT, CountingEngine, Workspace

from audioctl.clips import ClipRecord
from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.states import ExitCode

CLIPS, BATCH_SIZE = 6, 2
MOMENTS = ("before", "halfway", "after")
KILLED_JOB = str(Path(__file__).with_name("killed_job.py"))

Row = tuple[object, ...]
Outcome = tuple[dict[str, ClipRecord], dict[str, bytes], list[Row]]
"""Everything that a job leaves behind: the records that count, the files, the rows."""


@pytest.fixture
def upgraded(database: str) -> str:
    with connect() as connection:
        schema.upgrade(connection)
    return database


def new_workspace(folder: Path, *, database: bool) -> Workspace:
    folder.mkdir()
    workspace = Workspace(folder)
    workspace.configure("extract", stream_batch_size=BATCH_SIZE)
    workspace.configure("database", enabled=database)
    workspace.configure("upload", destination=str(workspace.storage))
    workspace.write_clips(CLIPS)
    return workspace


def outcome(workspace: Workspace, database: str | None) -> Outcome:
    rows: list[Row] = []
    if database is not None:
        with psycopg.connect(database) as connection:
            rows = connection.execute(
                "select slot, member, replace(file_path, %s, ''), file_size_bytes, transcript_text, ordinal"
                " from audio_files left join transcripts on audio_file_id = audio_files.id order by ordinal",
                [str(workspace.storage)],
            ).fetchall()
    return workspace.records(), workspace.files(), rows


def forget_rows(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("truncate audio_files cascade")


def assert_the_rest_is_done(workspace: Workspace, undisturbed: Outcome, database: str | None) -> None:
    workspace.wait_until_no_process_is_left()
    heard_before = {name for name, _ in enumerate(workspace.event_names())} if workspace.journal.exists() else set()
    assert workspace.process().is_complete
    workspace.assert_all_was_heard()
    assert outcome(workspace, database) == undisturbed
    del heard_before


def killed_at(number: int, moment: str, workspace: Workspace) -> bool:
    """Whether the job got as far as that."""
    configuration = str(workspace.write_configuration())
    process = workspace.start_program(
        [sys.executable, "-P", KILLED_JOB, str(number), moment, "--config", configuration]
        + ["process-tar", DAY, str(workspace.archive), SLOT]
    )
    _, stderr = process.communicate()
    assert process.returncode in (ExitCode.DONE, -signal.SIGKILL), stderr
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_job_killed_at_any_write_of_its_journal_is_finished_by_the_next(
    moment: str, upgraded: str, tmp_path: Path
) -> None:
    first = new_workspace(tmp_path / "undisturbed", database=True)
    first.process()
    undisturbed = outcome(first, upgraded)
    assert [len(part) for part in undisturbed] == [CLIPS] * 3
    for number in count(1):
        forget_rows(upgraded)
        workspace = new_workspace(tmp_path / str(number), database=True)
        if not killed_at(number, moment, workspace):
            break
        assert_the_rest_is_done(workspace, undisturbed, upgraded)
    # Attempt, end and archive, and of each batch: extracted, transcribed, recorded, uploaded, confirmed.
    assert number == 3 + CLIPS // BATCH_SIZE * 5 + 1
