"""``verify --repair``: what can be put right is, what cannot is left and told, and nothing else is touched."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from databases import value
from journals import ended, failed, holder_process, started, write_journal
from proved_days import ProvedDay
from psycopg import Connection
from sshd import Sshd
from test_verify import JOURNAL_DAMAGES, ROW_DAMAGES, change_a_byte, link_elsewhere, settle
from workspace import DAY, Result, Workspace

from audioctl.cli.verify import prove
from audioctl.ledger.lease import lease_path
from audioctl.ledger.models import ledger_path
from audioctl.repair import Fate, repair_day
from audioctl.states import ExitCode, Outcome, Stage
from audioctl.verification import Problem

RESUME = f"audioctl resume {DAY}"
FIRST, OTHER, MEMBER = "12_00", "12_10", "1.mp3"

Rows = list[tuple[Any, ...]]


def contents(folder: Path, *, without: Collection[str] = (".db", ".lease")) -> dict[str, tuple[int, bytes]]:
    """Each file below the folder with its time."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in without
    }


def verify(workspace: Workspace, *arguments: str) -> Result:
    result = workspace.audioctl("verify", DAY, *arguments)
    assert "Traceback" not in result.stderr
    return result


def repair(workspace: Workspace, *arguments: str) -> Result:
    return verify(workspace, "--checksum", "--repair", *arguments)


def assert_proved(workspace: Workspace) -> None:
    result = verify(workspace, "--checksum")
    assert result.returncode == ExitCode.DONE, result.stdout


def archives(workspace: Workspace) -> list[dict[str, Any]]:
    (day,) = json.loads(workspace.audioctl("status", DAY, "--json").stdout)["days"]
    return list(day["archives"])


# Files: a real archive, processed, of two batches


@pytest.fixture(params=["local", "ssh"])
def processed(request: pytest.FixtureRequest, workspace: Workspace) -> Workspace:
    """An archive of seven clips in two batches; its files lie in a folder, or behind a real sshd."""
    if request.param == "ssh":
        sshd: Sshd = request.getfixturevalue("sshd")
        workspace.configure(
            "upload",
            destination=f"{sshd.login}:{workspace.storage}",
            ssh_key=str(sshd.client_key),
            ssh_options=tuple(sshd.options),
        )
    return process(workspace)


@pytest.fixture
def recorded(workspace: Workspace, upgraded: Connection) -> Workspace:  # noqa: ARG001 - the database it is written to
    workspace.configure("database", enabled=True)
    return process(workspace)


@pytest.fixture
def local(workspace: Workspace) -> Workspace:
    return process(workspace)


def process(workspace: Workspace) -> Workspace:
    workspace.write_clips(7)
    workspace.process()
    assert workspace.progress.is_complete
    return workspace


def stored(workspace: Workspace, number: int) -> Path:
    return workspace.storage / str(workspace.records()[f"radio/{number:03d}.mp3"].storage_path)


def damage_the_first_batch(workspace: Workspace) -> None:
    stored(workspace, 0).unlink()
    stored(workspace, 1).write_bytes(b"short")
    change_a_byte(stored(workspace, 2))
    link_elsewhere(stored(workspace, 3))


def test_files_are_owed_again_and_resume_makes_just_these(processed: Workspace) -> None:
    words = {name: record.text for name, record in processed.records().items()}
    damage_the_first_batch(processed)
    other_batch = [stored(processed, number).stat().st_ctime_ns for number in (5, 6)]

    result = repair(processed)
    assert result.returncode == ExitCode.LOOK
    assert result.stdout.count(f"owed: {RESUME}") == 5
    assert f"`{RESUME}` makes what is owed anew" in result.stderr
    (archive,) = archives(processed)
    assert (archive["state"], archive["reason"], archive["owed_upload"]) == ("failed", "owed", 5)
    assert "file missing (2)" in archive["error"]
    assert stored(processed, 1).read_bytes() == b"short"

    again = repair(processed)
    assert again.returncode == ExitCode.LOOK
    assert again.stdout.count(f"owed: {RESUME}") == 6
    assert processed.event_names().count("upload_revoked") == 1

    resumed = processed.audioctl("resume", DAY, "--wait")
    assert resumed.returncode == ExitCode.DONE, resumed.stderr
    assert "owes 5 files to upload" in resumed.stdout
    assert_proved(processed)
    processed.assert_all_was_heard()
    assert {name: record.text for name, record in processed.records().items()} == words
    assert processed.event_names().count("batch_transcribed") == 2
    assert processed.event_names().count("batch_uploaded") == 3
    assert [stored(processed, number).stat().st_ctime_ns for number in (5, 6)] == other_batch

    nothing = repair(processed)
    assert (nothing.returncode, nothing.stdout) == (ExitCode.DONE, "")
    assert "7 clips, 0 differences" in nothing.stderr


def test_file_path_is_confirmed_anew_too(recorded: Workspace, upgraded: Connection) -> None:
    stored(recorded, 0).unlink()
    upgraded.execute("delete from audio_files where member = 'radio/000.mp3'")
    upgraded.execute("update audio_files set file_path = '/x' where member = 'radio/006.mp3'")
    assert repair(recorded).returncode == ExitCode.LOOK
    path = "select file_path from audio_files where member = %s"
    assert value(upgraded, path, "radio/000.mp3") is None, "the file is not there"
    assert value(upgraded, path, "radio/006.mp3") == str(stored(recorded, 6))
    assert recorded.audioctl("resume", DAY, "--wait").returncode == ExitCode.DONE
    assert value(upgraded, path, "radio/000.mp3") == str(stored(recorded, 0))
    assert_proved(recorded)


def test_an_upload_that_the_journal_has_lost_is_made_again(local: Workspace) -> None:
    lines = local.journal.read_text().splitlines(keepends=True)
    lines.remove(next(line for line in lines if '"batch_uploaded"' in line))
    local.journal.write_text("".join(lines))
    assert "left alone" not in repair(local).stdout
    assert local.audioctl("resume", DAY, "--wait").returncode == ExitCode.DONE
    assert_proved(local)
    local.assert_all_was_heard()


def test_a_crash_at_any_byte_of_the_repair_is_mended_by_another(local: Workspace) -> None:
    before = local.journal.stat().st_size
    stored(local, 0).unlink()
    stored(local, 6).unlink()
    repair(local)
    whole = local.journal.read_bytes()
    first_line = whole.index(b"\n", before) + 1
    for size in (before + 1, first_line - 1, first_line, len(whole) - 1):
        local.journal.write_bytes(whole[:size])
        assert repair(local).returncode == ExitCode.LOOK
        assert local.progress.owed(Stage.UPLOAD) == 7
    assert local.audioctl("resume", DAY, "--wait").returncode == ExitCode.DONE
    assert_proved(local)


def test_a_day_between_repair_and_resume_is_not_cleaned(local: Workspace) -> None:
    stored(local, 0).unlink()
    repair(local)
    result = local.audioctl("clean", DAY, "--archives")
    assert (result.returncode, local.archive.exists()) == (ExitCode.LOOK, True)


@pytest.mark.parametrize(
    ("meanwhile", "words"),
    [
        (Path.unlink, "cannot be made again without"),
        (lambda archive: os.utime(archive), "has changed since it was read"),
    ],
)
def test_without_its_archive_a_file_is_left_and_so_is_the_journal(
    meanwhile: Callable[[Path], object], words: str, local_day: ProvedDay
) -> None:
    local_day.file(FIRST, MEMBER).unlink()
    meanwhile(local_day.archive(FIRST))
    before = contents(local_day.workspace.state)
    result = repair(local_day.workspace)
    assert result.returncode == ExitCode.LOOK
    assert "left: cannot be made again" in result.stdout
    assert words in result.stdout
    assert "its transcript is kept" in result.stdout
    assert contents(local_day.workspace.state) == before
    assert {archive["state"] for archive in archives(local_day.workspace)} == {"done"}


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
