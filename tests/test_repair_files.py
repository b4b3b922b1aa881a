"""``verify --repair`` of a real archive: wrong files are owed again, and ``resume`` makes just them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from databases import value
from proved_days import ProvedDay
from psycopg import Connection
from repairing import FIRST, MEMBER, RESUME, archives, assert_proved, contents, repair
from sshd import Sshd
from test_verify import change_a_byte, link_elsewhere
from workspace import DAY, Workspace

from audioctl.states import ExitCode, Stage


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
