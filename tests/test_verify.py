"""``verify`` as a proof: each damage that is done to a day is found and named, and nothing else."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from journals import holder_process, submit
from proved_days import ProvedDay
from workspace import DAY

from audioctl.ledger.lease import lease_path
from audioctl.ledger.models import ledger_path
from audioctl.states import ExitCode
from audioctl.verification import Problem

SLOT, OTHER, MEMBER = "12_00", "12_10", "1.mp3"

Found = tuple[str, str, str]


def test_a_day_in_which_all_is_well_is_proved(stored_day: ProvedDay) -> None:
    assert stored_day.verify() == []
    assert stored_day.verify(SLOT) == []
    result = stored_day.workspace.audioctl("verify", DAY)
    assert "8 clips, 0 differences between journals, ledger and files." in result.stderr


# Files


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def swap_with_its_neighbour(path: Path) -> None:
    other = path.with_name("0.opus")
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def move_to_the_other_slot(path: Path) -> None:
    path.rename(path.parents[1] / OTHER / "moved.opus")


def link_elsewhere(path: Path) -> None:
    path.rename(path.parents[5] / "elsewhere")
    path.symlink_to(path.parents[5] / "elsewhere")


MISSING = (SLOT, MEMBER, Problem.FILE_MISSING)
CONTENT = (SLOT, MEMBER, Problem.FILE_CONTENT)

FILE_DAMAGES: dict[str, tuple[Callable[[Path], object], list[Found]]] = {
    "missing": (Path.unlink, [MISSING]),
    "short": (lambda path: path.write_bytes(path.read_bytes()[:-1]), [CONTENT, (SLOT, MEMBER, Problem.FILE_SIZE)]),
    "empty": (lambda path: path.write_bytes(b""), [CONTENT, (SLOT, MEMBER, Problem.FILE_SIZE)]),
    "longer": (lambda path: path.write_bytes(path.read_bytes() * 2), [CONTENT, (SLOT, MEMBER, Problem.FILE_SIZE)]),
    "altered": (change_a_byte, [CONTENT]),
    "swapped": (swap_with_its_neighbour, [(SLOT, "0.mp3", Problem.FILE_CONTENT), CONTENT]),
    "a link": (link_elsewhere, [MISSING]),
    "extra": (lambda path: path.with_name("extra.opus").write_bytes(b"?"), [(SLOT, "", Problem.FILE_UNKNOWN)]),
    "extra, of no slot": (
        lambda path: path.parents[1].joinpath("notes.txt").write_bytes(b"?"),
        [("", "", Problem.FILE_UNKNOWN)],
    ),
    "wrong path": (
        lambda path: path.rename(path.with_name("other.opus")),
        [(SLOT, "", Problem.FILE_UNKNOWN), MISSING],
    ),
    "wrong slot": (move_to_the_other_slot, [MISSING, (OTHER, "", Problem.FILE_UNKNOWN)]),
    "left by rsync": (
        lambda path: path.with_name(f".{path.name}.Xy12Zz").write_bytes(b"?"),
        [(SLOT, "", Problem.FILE_CUT_OFF)],
    ),
    "as rsync would leave it, of no clip": (
        lambda path: path.with_name(".other.opus.Xy12Zz").write_bytes(b"?"),
        [(SLOT, "", Problem.FILE_UNKNOWN)],
    ),
}


@pytest.mark.parametrize("damage", FILE_DAMAGES)
def test_what_is_done_to_a_file_is_named(damage: str, stored_day: ProvedDay) -> None:
    do_damage, expected = FILE_DAMAGES[damage]
    do_damage(stored_day.file(SLOT, MEMBER))
    assert stored_day.verify() == sorted(expected)


def test_a_whole_slot_that_is_gone_is_named_clip_by_clip(stored_day: ProvedDay) -> None:
    stored_day.file(SLOT, MEMBER).parent.rename(stored_day.workspace.folder / "gone")
    assert stored_day.verify() == [(SLOT, f"{ordinal}.mp3", Problem.FILE_MISSING) for ordinal in (0, 1, 3, 4)]


# Journals


def without(journal: Path, mark: str, count: int = 1) -> None:
    """Takes out the first lines with this mark."""
    lines = journal.read_text().splitlines(keepends=True)
    for line in [line for line in lines if mark in line][:count]:
        lines.remove(line)
    journal.write_text("".join(lines))


def say_twice(journal: Path) -> None:
    journal.write_text(journal.read_text().replace('"member":"4.mp3"', '"member":"1.mp3"'))


def upload_twice_to_one_place(journal: Path) -> None:
    journal.write_text(journal.read_text().replace(f"{SLOT}/4.opus", f"{SLOT}/1.opus"))


JOURNAL_DAMAGES: dict[str, tuple[Callable[[Path], object], list[Found]]] = {
    "a clip's line is gone": (
        lambda journal: without(journal, '"ordinal":1,"member"'),
        [(SLOT, "", Problem.FILE_UNKNOWN), (SLOT, "", Problem.JOURNAL_INCOMPLETE)],
    ),
    "a batch's transcripts are gone": (
        lambda journal: without(journal, '"batch_transcribed"'),
        [
            *[(SLOT, "", Problem.FILE_UNKNOWN)] * 2,
            (SLOT, "", Problem.JOURNAL_INCOMPLETE),
            (SLOT, "", Problem.NOT_FINISHED),
        ],
    ),
    "an upload's line is gone": (
        lambda journal: without(journal, '"batch_uploaded"'),
        [
            (SLOT, "", Problem.NOT_FINISHED),
            (SLOT, "0.mp3", Problem.NOT_UPLOADED),
            (SLOT, MEMBER, Problem.NOT_UPLOADED),
        ],
    ),
    "its end is gone": (lambda journal: without(journal, '"attempt_ended"'), [(SLOT, "", Problem.NOT_FINISHED)]),
    "overwritten": (
        lambda journal: journal.write_bytes(b"\0" * 20 + b"\n" + journal.read_bytes()),
        [(SLOT, "", Problem.JOURNAL_DAMAGED)],
    ),
    "a clip twice": (say_twice, [(SLOT, MEMBER, Problem.CLIP_DOUBLED)]),
    "a file twice": (
        upload_twice_to_one_place,
        [
            (SLOT, "", Problem.CLIP_DOUBLED),
            (SLOT, "", Problem.FILE_UNKNOWN),
            (SLOT, "4.mp3", Problem.FILE_CONTENT),
            (SLOT, "4.mp3", Problem.FILE_MISSING),
        ],
    ),
    "gone": (Path.unlink, [(SLOT, "", Problem.FILE_UNKNOWN)] * 4),
}


@pytest.mark.parametrize("damage", JOURNAL_DAMAGES)
def test_what_is_done_to_a_journal_is_named(damage: str, local_day: ProvedDay) -> None:
    do_damage, expected = JOURNAL_DAMAGES[damage]
    do_damage(local_day.journal(SLOT))
    assert local_day.verify() == sorted(expected)


# The ledger


def settle(state: Path) -> None:
    """What has not changed for a while is not looked at again, so that the ledger is believed."""
    an_hour_ago = time.time() - 3600
    os.utime(state / "journals" / DAY, (an_hour_ago, an_hour_ago))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE archives SET stored = 99 WHERE slot = '12_00'", "stored is 99, not 4"),
        ("UPDATE archives SET state = 'failed' WHERE slot = '12_00'", "state is failed, not done"),
        ("UPDATE batches SET upload = 'pending' WHERE slot = '12_00' AND batch = 1", "batch 1 has another upload"),
        ("DELETE FROM batches WHERE slot = '12_00' AND batch = 0", "batch 0 is missing"),
        ("DELETE FROM rejections WHERE slot = '12_00' AND ordinal = 5", "rejection 5 is missing"),
        (
            "INSERT INTO rejections SELECT day, slot, 77, batch, member, stage, reason, detail FROM rejections"
            " WHERE slot = '12_00' AND ordinal = 5",
            "rejection 77 is unknown to the journal",
        ),
    ],
)
def test_what_is_done_to_the_ledger_is_named(statement: str, words: str, local_day: ProvedDay) -> None:
    settle(local_day.workspace.state)
    assert local_day.verify() == []
    with closing(sqlite3.connect(ledger_path(local_day.workspace.state))) as connection:
        assert connection.execute(statement).rowcount == 1
        connection.commit()
    result = local_day.workspace.audioctl("verify", DAY, "--slot", SLOT)
    assert result.returncode == ExitCode.LOOK
    assert f"{Problem.LEDGER}" in result.stdout
    assert words in result.stdout
    assert local_day.workspace.audioctl("ledger", "rebuild").returncode == ExitCode.DONE
    assert local_day.verify() == []


# Rows

WHERE = f"slot = '{SLOT}' and member = '{MEMBER}'"
ROW = f"from audio_files f where audio_file_id = f.id and f.slot = '{SLOT}' and f.member = '{MEMBER}'"

ROW_DAMAGES: dict[str, tuple[str, list[Found]]] = {
    "missing": (f"delete from audio_files where {WHERE}", [(SLOT, MEMBER, Problem.ROW_MISSING)]),
    "no transcript": (f"delete from transcripts using {ROW[5:]}", [(SLOT, MEMBER, Problem.ROW_TEXT)]),
    "other text": (f"update transcripts set transcript_text = 'other' {ROW}", [(SLOT, MEMBER, Problem.ROW_TEXT)]),
    "other path": (f"update audio_files set file_path = '/x' where {WHERE}", [(SLOT, MEMBER, Problem.ROW_PATH)]),
    "no path": (f"update audio_files set file_path = null where {WHERE}", [(SLOT, MEMBER, Problem.ROW_PATH)]),
    "other size": (f"update audio_files set file_size_bytes = 1 where {WHERE}", [(SLOT, MEMBER, Problem.ROW_SIZE)]),
    "extra": (
        f"insert into audio_files (filename, year, month, date, slot, member) values ('x', 2025, 1, 25, '{SLOT}', 'x')",
        [(SLOT, "x", Problem.ROW_UNKNOWN)],
    ),
    "extra, of a slot that nobody knows": (
        "insert into audio_files (filename, year, month, date, slot, member) values ('x', 2025, 1, 25, '23_50', 'x')",
        [("23_50", "x", Problem.ROW_UNKNOWN)],
    ),
    "wrong slot": (
        f"update audio_files set slot = '{OTHER}', member = 'x' where {WHERE}",
        [(SLOT, MEMBER, Problem.ROW_MISSING), (OTHER, "x", Problem.ROW_UNKNOWN)],
    ),
    "wrong day": (f"update audio_files set date = 26 where {WHERE}", [(SLOT, MEMBER, Problem.ROW_MISSING)]),
}


@pytest.mark.parametrize("damage", ROW_DAMAGES)
def test_what_is_done_to_a_row_is_named(damage: str, recorded_day: ProvedDay) -> None:
    statement, expected = ROW_DAMAGES[damage]
    assert recorded_day.connection is not None
    assert recorded_day.connection.execute(statement).rowcount == 1
    assert recorded_day.verify() == sorted(expected)


def test_a_row_that_is_there_twice_is_named(recorded_day: ProvedDay) -> None:
    assert recorded_day.verify() == []
    assert recorded_day.connection is not None
    recorded_day.connection.execute("drop index audio_files_clip_key")
    recorded_day.connection.execute(
        "insert into audio_files (filename, year, month, date, slot, member, file_path, file_size_bytes)"
        f" select 'again', year, month, date, slot, member, file_path, file_size_bytes from audio_files where {WHERE}"
    )
    found = recorded_day.verify()
    assert (SLOT, MEMBER, Problem.ROW_DOUBLED) in found
    assert {member for _, member, _ in found} == {MEMBER}


def test_a_row_without_its_file_and_a_file_without_its_row_are_named(recorded_day: ProvedDay) -> None:
    recorded_day.file(SLOT, "0.mp3").unlink()
    assert recorded_day.connection is not None
    recorded_day.connection.execute(f"delete from audio_files where {WHERE}")
    assert recorded_day.verify() == [(SLOT, "0.mp3", Problem.FILE_MISSING), (SLOT, MEMBER, Problem.ROW_MISSING)]


# What is not done


def test_what_was_never_begun_is_named_and_what_is_at_work_is_left_out(local_day: ProvedDay) -> None:
    submit(local_day.workspace.state, ["13_00"])
    assert local_day.verify() == [("13_00", "", Problem.NOT_FINISHED)]
    without(local_day.journal(OTHER), '"attempt_ended"')
    local_day.file(OTHER, MEMBER).with_name("being written.opus").touch()
    with holder_process(lease_path(local_day.journal(OTHER))):
        result = local_day.workspace.audioctl("verify", DAY)
    assert f"Still being worked on and left out: {OTHER}." in result.stderr
    assert OTHER not in result.stdout
    assert local_day.verify(SLOT) == []
