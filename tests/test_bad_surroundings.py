"""What a job meets around its archive: no archive, no model, no rsync, no room, nobody who takes its results."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest
from sshd import HOST, Sshd
from workspace import DAY, Workspace, assert_mended

from audioctl.states import ExitCode

if TYPE_CHECKING:
    from postgres import PostgresServer


def test_an_archive_that_is_not_there_leaves_no_trace(workspace: Workspace) -> None:
    result = workspace.process_tar()
    assert result.returncode == ExitCode.FAILED
    assert f"Cannot look at {workspace.archive}" in result.stderr
    assert not workspace.journal.exists()
    workspace.write_clips(3)
    assert_mended(workspace)


def test_an_archive_that_cannot_be_read_fails(workspace: Workspace) -> None:
    workspace.archive.mkdir()
    result = workspace.process_tar()
    assert result.returncode == ExitCode.FAILED
    assert f"Cannot read {workspace.archive}: Is a directory." in result.stderr
    workspace.archive.rmdir()
    workspace.write_clips(3)
    assert_mended(workspace)


# The machine


def test_a_missing_model_is_a_matter_of_configuration(workspace: Workspace) -> None:
    workspace.write_clips(7)
    workspace.configure("transcribe", model="/no/such/model")
    result = workspace.process_tar()
    assert result.returncode == ExitCode.CONFIGURATION
    assert "There is no folder /no/such/model" in result.stderr
    workspace.configure("transcribe", model="bundled")
    assert_mended(workspace)


def test_a_missing_rsync_is_a_matter_of_configuration(workspace: Workspace) -> None:
    workspace.write_clips(7)
    result = workspace.process_tar(environment={"PATH": str(workspace.folder)})
    assert result.returncode == ExitCode.CONFIGURATION
    assert "There is no rsync on this machine" in result.stderr
    assert_mended(workspace)


def test_a_scratch_folder_that_cannot_be_made_is_named(workspace: Workspace) -> None:
    workspace.write_clips(7)
    workspace.scratch.write_text("a file, not a folder")
    result = workspace.process_tar()
    assert result.returncode == ExitCode.FAILED
    assert f"No scratch folder can be made in {workspace.scratch}" in result.stderr
    workspace.scratch.unlink()
    assert_mended(workspace)


@pytest.mark.parametrize("largest_file", [2_000, 9_000])
def test_a_full_scratch_ends_the_job_and_keeps_what_is_done(largest_file: int, workspace: Workspace) -> None:
    workspace.write_clips(12)
    result = workspace.process_tar(largest_file=largest_file)
    assert result.returncode == ExitCode.FAILED
    assert "could not be written" in result.stderr
    assert workspace.scratch_content() == []
    workspace.wait_until_no_process_is_left()
    assert_mended(workspace)


# The destination


def test_files_stay_owed_to_a_destination_that_is_no_folder(workspace: Workspace) -> None:
    workspace.write_clips(7)
    workspace.storage.write_text("a file, not a folder")
    result = workspace.process_tar()
    assert result.returncode == ExitCode.LOOK
    assert "7 files to upload" in result.stdout
    assert "did not arrive" in result.stderr
    workspace.storage.unlink()
    assert_mended(workspace)


def test_files_stay_owed_to_a_server_that_is_down(workspace: Workspace) -> None:
    workspace.write_clips(7)
    sshd = Sshd(workspace.folder / "sshd")
    workspace.configure(
        "upload",
        destination=f"{sshd.login}:{workspace.storage}",
        ssh_key=str(sshd.client_key),
        ssh_options=tuple(sshd.options),
    )
    result = workspace.process_tar()
    assert result.returncode == ExitCode.LOOK
    assert f"{sshd.login} refuses the connection" in result.stderr
    assert "7 files to upload" in result.stdout
    with sshd:
        assert_mended(workspace)


# The database


def test_rows_stay_owed_to_a_database_that_refuses_us(
    workspace: Workspace, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write_clips(7)
    workspace.configure("database", enabled=True)
    monkeypatch.setenv("DB_CREDS", f"{database} password=wrong-horse host={HOST} user=clerk")
    result = workspace.process_tar()
    assert result.returncode == ExitCode.LOOK
    assert "PostgreSQL refuses these credentials" in result.stderr
    assert "7 rows to record" in result.stdout
    assert "wrong-horse" not in result.stderr + result.stdout + workspace.journal.read_text()
    monkeypatch.setenv("DB_CREDS", database)
    assert workspace.audioctl("db", "upgrade").returncode == ExitCode.DONE
    assert_mended(workspace)
    assert recorded_texts(database) == sorted(workspace.said.values())


def test_rows_stay_owed_to_a_database_without_our_tables(workspace: Workspace, database: str) -> None:
    workspace.write_clips(7)
    workspace.configure("database", enabled=True)
    result = workspace.process_tar()
    assert result.returncode == ExitCode.LOOK
    assert "audioctl db upgrade" in result.stderr
    assert workspace.audioctl("db", "upgrade").returncode == ExitCode.DONE
    assert_mended(workspace)
    assert recorded_texts(database) == sorted(workspace.said.values())


def test_what_is_wrong_with_the_database_is_told_at_submission_and_stops_no_job(
    workspace: Workspace,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    postgres: PostgresServer,
) -> None:
    workspace.write_clips(1)
    workspace.configure("database", enabled=True)
    without_tables = workspace.audioctl("submit-day", DAY, "--dry-run")
    workspace.audioctl("db", "upgrade")
    with_tables = workspace.audioctl("submit-day", DAY, "--dry-run")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    os.kill(postgres.pid, signal.SIGSTOP)
    try:
        with_frozen_server = workspace.audioctl("submit-day", DAY, "--dry-run")
    finally:
        os.kill(postgres.pid, signal.SIGCONT)
    monkeypatch.setenv("DB_CREDS", f"{database} host={HOST} port=1")
    without_server = workspace.audioctl("submit-day", DAY, "--dry-run")
    results = (without_tables, with_tables, with_frozen_server, without_server)
    assert {result.returncode for result in results} == {ExitCode.DONE}
    assert all("job.sh" in result.stdout for result in results)
    assert "The table audio_files is missing. (3 differences) Run `audioctl db upgrade`" in without_tables.stderr
    assert with_tables.stderr == ""
    for result in (with_frozen_server, without_server):
        assert "PostgreSQL does not answer" in result.stderr
        assert "for a later `audioctl resume`" in result.stderr


def test_an_upgrade_tells_what_it_has_mended_and_what_it_cannot_mend(workspace: Workspace, database: str) -> None:
    workspace.audioctl("db", "upgrade")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("drop index transcripts_full_text; alter table audio_files alter ordinal type text")
    found = workspace.audioctl("db", "upgrade", "--dry-run")
    mended = workspace.audioctl("db", "upgrade")
    left = workspace.audioctl("db", "upgrade")
    index_is_missing = "The table transcripts has no full-text index."
    type_differs = "The column audio_files.ordinal is text, not integer."
    assert found.stdout.splitlines() == [type_differs, index_is_missing]
    assert mended.stdout.splitlines() == [f"Mended: {index_is_missing}", type_differs]
    assert left.stdout.splitlines() == [type_differs]
    assert left.stderr == "1 difference from what is needed; an upgrade cannot mend it.\n"
    assert {result.returncode for result in (found, mended, left)} == {ExitCode.LOOK}


def test_rows_stay_owed_to_a_database_that_is_away(
    workspace: Workspace, database: str, postgres: PostgresServer
) -> None:
    workspace.write_clips(7)
    workspace.configure("database", enabled=True)
    assert workspace.audioctl("db", "upgrade").returncode == ExitCode.DONE
    postgres.stop()
    try:
        result = workspace.process_tar()
    finally:
        postgres.start()
    assert result.returncode == ExitCode.LOOK
    assert "PostgreSQL does not answer" in result.stderr
    assert_mended(workspace)
    assert recorded_texts(database) == sorted(workspace.said.values())


def recorded_texts(database: str) -> list[str]:
    with psycopg.connect(database) as connection:
        return sorted(text for (text,) in connection.execute("select transcript_text from transcripts"))
