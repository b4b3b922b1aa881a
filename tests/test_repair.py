"""``verify --repair`` of rows, ledger and journals: what cannot be put right is left and told."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing

import pytest
from databases import value
from journals import ended, failed, holder_process, started, write_journal
from proved_days import ProvedDay
from psycopg import Connection
from repairing import FIRST, MEMBER, OTHER, RESUME, Rows, assert_proved, contents, repair, verify
from sshd import Sshd
from test_verify import JOURNAL_DAMAGES, ROW_DAMAGES, settle
from workspace import DAY, Workspace

from audioctl.cli.verify import prove
from audioctl.ledger.lease import lease_path
from audioctl.ledger.models import ledger_path
from audioctl.repair import Fate, repair_day
from audioctl.states import ExitCode, Outcome, Stage
from audioctl.verification import Problem

# Rows

MOVED = {"wrong slot", "wrong day"}
OUR_ROW = f"slot = '{FIRST}' and member = '{MEMBER}'"
LEGACY = """
insert into audio_files (filename, file_path, month, date, year, location, classification)
  values ('1.mp3.old', '/archive/1.mp3', 1, 25, 2025, 'Bern', 'speech'), ('x.mp3', null, 1, 25, 2025, 'Bern', null);
insert into transcripts (audio_file_id, transcript_text) select id, 'old words' from audio_files where slot is null;
"""

COLUMN_DAMAGES = {
    "ordinal": ("update audio_files set ordinal = 99 where {}", Problem.ROW_ORDINAL),
    "sha256": ("update audio_files set sha256 = 'x' where {}", Problem.ROW_SHA256),
    "word_count": ("update transcripts set word_count = 0 {}", Problem.ROW_WORD_COUNT),
    "duration_seconds": ("update transcripts set duration_seconds = 2.52 {}", Problem.ROW_DURATION),
    "no duration_seconds": ("update transcripts set duration_seconds = null {}", Problem.ROW_DURATION),
    "language": ("update transcripts set language = 'xx' {}", Problem.ROW_LANGUAGE),
    "language_probability": ("update transcripts set language_probability = 0.1 {}", Problem.ROW_LANGUAGE),
    "segments": ("update transcripts set segments = '[{{\"start\": 1}}]' {}", Problem.ROW_SEGMENTS),
    "no segments": ("update transcripts set segments = null {}", Problem.ROW_SEGMENTS),
    "flags": ("update transcripts set flags = '{{repetitive}}' {}", Problem.ROW_FLAGS),
    "model": ("update transcripts set model = 'other' {}", Problem.ROW_MODEL),
}


def damage_column(connection: Connection, damage: str) -> Problem:
    statement, problem = COLUMN_DAMAGES[damage]
    its_transcript = f"from audio_files f where audio_file_id = f.id and f.slot = '{FIRST}' and f.member = '{MEMBER}'"
    where = OUR_ROW if statement.startswith("update audio_files") else its_transcript
    assert connection.execute(statement.format(where).encode()).rowcount == 1
    return problem


def rows(connection: Connection, where: str = "true") -> Rows:
    """All columns of both tables."""
    query = (
        "select to_jsonb(audio_files)::text, to_jsonb(transcripts)::text"
        f" from audio_files left join transcripts on audio_file_id = audio_files.id where {where} order by 1, 2"
    )
    return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize("damage", COLUMN_DAMAGES)
def test_every_column_is_compared_and_written_again(damage: str, recorded_day: ProvedDay) -> None:
    connection = recorded_day.connection
    assert connection is not None
    problem = damage_column(connection, damage)
    assert recorded_day.verify() == [(FIRST, MEMBER, problem)]
    result = repair(recorded_day.workspace)
    assert result.returncode == ExitCode.DONE
    assert "1 put right" in result.stderr
    assert recorded_day.verify() == []


@pytest.mark.parametrize("damage", sorted(set(ROW_DAMAGES) - {"extra", "extra, of a slot that nobody knows"}))
def test_rows_are_written_again_and_no_other_is_touched(damage: str, recorded_day: ProvedDay) -> None:
    connection, workspace = recorded_day.connection, recorded_day.workspace
    assert connection is not None
    connection.execute(LEGACY)
    statement, _ = ROW_DAMAGES[damage]
    connection.execute(statement.encode())
    others = rows(connection, f"not coalesce({OUR_ROW}, false)")
    before = contents(workspace.storage), contents(workspace.state)

    result = repair(workspace)
    assert rows(connection, f"not coalesce({OUR_ROW}, false)") == others
    assert (contents(workspace.storage), contents(workspace.state)) == before
    assert "put right" in result.stdout
    left = recorded_day.verify()
    if damage == "wrong slot":
        assert (result.returncode, left) == (ExitCode.LOOK, [(OTHER, "x", Problem.ROW_UNKNOWN)])
    else:
        assert (result.returncode, left) == (ExitCode.DONE, [])


def test_rows_that_were_never_written_are_written_from_the_journal(local_day: ProvedDay, upgraded: Connection) -> None:
    """The archive was worked on before there was a database."""
    local_day.workspace.configure("database", enabled=True)
    assert repair(local_day.workspace).returncode == ExitCode.DONE
    assert value(upgraded, "select count(*) from audio_files where file_path is not null") == 8
    assert_proved(local_day.workspace)


def test_what_nobody_knows_is_left_with_the_words_that_delete_it(recorded_day: ProvedDay) -> None:
    connection, workspace = recorded_day.connection, recorded_day.workspace
    assert connection is not None
    connection.execute(ROW_DAMAGES["extra"][0].encode())
    extra = recorded_day.file(FIRST, MEMBER).with_name("it's extra.opus")
    extra.write_bytes(b"?")
    before = rows(connection), contents(workspace.storage), contents(workspace.state)
    result = repair(workspace, "--json")
    assert result.returncode == ExitCode.LOOK
    assert (rows(connection), contents(workspace.storage), contents(workspace.state)) == before
    of_file, of_row = json.loads(result.stdout)["differences"]
    assert (of_file["repair"], of_row["repair"]) == ("left", "left")

    subprocess.run(of_file["next"].removeprefix("if nobody needs it: "), shell=True, check=True)
    connection.execute(of_row["next"].removeprefix("if nobody needs it, in psql: ").encode())
    assert_proved(workspace)


def test_a_name_that_cannot_be_typed_is_told_all_the_same(local_day: ProvedDay) -> None:
    extra = local_day.file(FIRST, MEMBER).with_name(os.fsdecode(b"\xff\n.opus"))
    extra.write_bytes(b"?")
    (difference,) = json.loads(repair(local_day.workspace, "--json").stdout)["differences"]
    assert difference["detail"].endswith("\\xff\n.opus")
    assert difference["next"] == "if nobody needs it, delete it by hand"
    assert r"\xff\n.opus" in repair(local_day.workspace).stdout


def test_over_ssh_the_words_say_where_to_delete(workspace: Workspace, sshd: Sshd) -> None:
    workspace.configure(
        "upload",
        destination=f"{sshd.login}:{workspace.storage}",
        ssh_key=str(sshd.client_key),
        ssh_options=tuple(sshd.options),
    )
    day = ProvedDay(workspace)
    extra = day.file(FIRST, MEMBER).with_name("extra.opus")
    extra.write_bytes(b"?")
    assert f"if nobody needs it: ssh {sshd.login} 'rm -- {extra}'" in repair(workspace).stdout
    assert extra.exists()


def double(connection: Connection, **columns: str) -> None:
    connection.execute("drop index audio_files_clip_key")
    names, values = (",".join(part) for part in (["filename", *columns], ["'again'", *columns.values()]))
    connection.execute(
        f"insert into audio_files ({names}, year, month, date, slot, member)"
        f" select {values}, year, month, date, slot, member from audio_files where {OUR_ROW}".encode()
    )


def test_of_a_doubled_row_the_one_that_holds_more_is_kept(recorded_day: ProvedDay) -> None:
    connection = recorded_day.connection
    assert connection is not None
    double(connection, location="'Bern'")
    others = rows(connection, f"not ({OUR_ROW})")
    assert repair(recorded_day.workspace).returncode == ExitCode.DONE
    assert recorded_day.verify() == []
    assert value(connection, f"select filename, location from audio_files where {OUR_ROW}") == ("again", "Bern")
    assert rows(connection, f"not ({OUR_ROW})") == others


@pytest.mark.parametrize("reason", ["both hold something", "another table refers to them", "it is not permitted"])
def test_a_double_that_may_be_needed_is_left_and_the_others_are_put_right(
    reason: str, recorded_day: ProvedDay, monkeypatch: pytest.MonkeyPatch, clerk: str
) -> None:
    connection = recorded_day.connection
    assert connection is not None
    double(connection, location="'Bern'")
    connection.execute("update audio_files set file_size_bytes = 1 where slot = '12_00' and member = '4.mp3'")
    if reason == "both hold something":
        connection.execute(
            f"update audio_files set location = 'Basel' where {OUR_ROW} and filename <> 'again'".encode()
        )
    elif reason == "another table refers to them":
        connection.execute("create table notes (file uuid references audio_files (id) on delete cascade)")
    else:
        connection.execute("grant select, insert, update on all tables in schema public to clerk")
        monkeypatch.setenv("DB_CREDS", clerk)
    doubles = rows(connection, OUR_ROW)
    result = repair(recorded_day.workspace)
    assert result.returncode == ExitCode.LOOK
    assert rows(connection, OUR_ROW) == doubles
    found = {(member, problem) for _, member, problem in recorded_day.verify()}
    assert {member for member, _ in found} == {MEMBER}
    assert (MEMBER, Problem.ROW_DOUBLED) in found
    assert "1 put right" in result.stderr


# The ledger and the journals


def test_the_ledger_is_made_anew(local_day: ProvedDay) -> None:
    settle(local_day.workspace.state)
    assert local_day.verify() == []
    before = contents(local_day.workspace.state)
    with closing(sqlite3.connect(ledger_path(local_day.workspace.state))) as connection:
        connection.execute("UPDATE archives SET stored = 99, state = 'failed' WHERE slot = '12_00'")
        connection.execute("DELETE FROM batches WHERE slot = '12_10'")
        connection.commit()
    result = repair(local_day.workspace)
    assert result.returncode == ExitCode.DONE, result.stdout
    assert "3 put right" in result.stderr
    assert local_day.verify() == []
    assert contents(local_day.workspace.state) == before


@pytest.mark.parametrize("damage", ["a clip's line is gone", "a batch's transcripts are gone", "overwritten", "gone"])
def test_a_journal_is_left_as_it_is_with_what_to_do(damage: str, local_day: ProvedDay) -> None:
    do_damage, expected = JOURNAL_DAMAGES[damage]
    do_damage(local_day.journal(FIRST))
    before = contents(local_day.workspace.state), contents(local_day.workspace.storage)
    result = repair(local_day.workspace, "--json")
    assert result.returncode == ExitCode.LOOK
    assert (contents(local_day.workspace.state), contents(local_day.workspace.storage)) == before
    differences = json.loads(result.stdout)["differences"]
    assert [one["repair"] for one in differences] == ["left"] * len(expected)
    assert all(one["next"] for one in differences)
    assert local_day.verify() == sorted(expected)


def test_an_archive_that_is_not_finished_is_for_resume_and_its_rows_are_written_all_the_same(
    recorded_day: ProvedDay,
) -> None:
    write_journal(recorded_day.workspace.state, FIRST, [started(2), ended(2, Outcome.DRAINED)])
    recorded_day.file(FIRST, MEMBER).unlink()
    assert recorded_day.connection is not None
    recorded_day.connection.execute(f"delete from audio_files where {OUR_ROW}".encode())
    before = contents(recorded_day.workspace.state)
    result = repair(recorded_day.workspace)
    not_finished, missing, _ = result.stdout.splitlines()[1:]
    assert not_finished.endswith(f"left: {RESUME}")
    assert missing.endswith(f"left: {RESUME}, and then --repair again")
    assert "1 put right, 2 left" in result.stderr
    assert contents(recorded_day.workspace.state) == before


# What is at work


def test_what_is_being_worked_on_is_left_alone_and_named(local_day: ProvedDay) -> None:
    local_day.file(FIRST, MEMBER).unlink()
    write_journal(local_day.workspace.state, FIRST, [started(2)])
    before = contents(local_day.workspace.state)
    with holder_process(lease_path(local_day.journal(FIRST))):
        result = repair(local_day.workspace)
    assert f"Still being worked on and left out: {FIRST}." in result.stderr
    assert result.returncode == ExitCode.DONE
    assert contents(local_day.workspace.state) == before


def test_a_job_that_comes_in_between_has_its_way(local_day: ProvedDay) -> None:
    settings = local_day.workspace.settings
    local_day.file(FIRST, MEMBER).unlink()
    proof = prove(settings, DAY, [], checksum=False)
    assert proof is not None
    before = contents(local_day.workspace.state)
    with holder_process(lease_path(local_day.journal(FIRST))):
        (answer,) = repair_day(proof, settings, dry_run=False)
    assert (answer.fate, "is being worked on by" in answer.next) == (Fate.LEFT, True)
    assert contents(local_day.workspace.state) == before
    write_journal(local_day.workspace.state, FIRST, [started(2), failed(0, Stage.UPLOAD), ended(2)])
    before = contents(local_day.workspace.state)
    (answer,) = repair_day(proof, settings, dry_run=False)
    assert (answer.fate, "worked on it meanwhile" in answer.next) == (Fate.LEFT, True)
    assert contents(local_day.workspace.state) == before


# What is told


def test_a_dry_run_tells_what_would_be_done_and_changes_nothing(recorded_day: ProvedDay) -> None:
    connection, workspace = recorded_day.connection, recorded_day.workspace
    assert connection is not None
    recorded_day.file(FIRST, MEMBER).unlink()
    connection.execute(f"delete from audio_files where slot = '{OTHER}'".encode())
    settle(workspace.state)
    verify(workspace)
    before = rows(connection), contents(workspace.storage), contents(workspace.state, without=())
    dry = repair(workspace, "--dry-run")
    assert dry.returncode == ExitCode.LOOK
    assert "5 differences between journals, ledger, files and rows: 4 would be put right, 1 would be owed" in dry.stderr
    as_json = json.loads(repair(workspace, "--dry-run", "--json").stdout)
    assert as_json["dry_run"] is True
    assert [one["repair"] for one in as_json["differences"]] == ["owed", *["put_right"] * 4]
    assert (rows(connection), contents(workspace.storage), contents(workspace.state, without=())) == before

    done = json.loads(repair(workspace, "--json").stdout)
    assert done["dry_run"] is False
    assert done["differences"] == as_json["differences"]


def test_verify_says_that_there_is_a_repair(local_day: ProvedDay) -> None:
    local_day.file(FIRST, MEMBER).unlink()
    assert f"`audioctl verify {DAY} --repair`" in verify(local_day.workspace).stderr


def test_a_dry_run_of_nothing_is_wrong_usage(workspace: Workspace) -> None:
    assert verify(workspace, "--dry-run").returncode == ExitCode.USAGE
