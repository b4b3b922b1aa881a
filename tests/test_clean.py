"""``clean`` deletes what dead jobs left on scratch, and, when asked, archives of which all is proved. Nothing else."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Callable
from pathlib import Path

import pytest
from journals import holder_process, started, submit, write_journal
from proved_days import SLOTS, ProvedDay
from test_scratch import start_holder
from workspace import DAY, Result, Workspace

from audioctl.cleaning import decide, delete
from audioctl.cli.verify import prove
from audioctl.ledger.lease import lease_path
from audioctl.ledger.models import open_ledger
from audioctl.ledger.queries import one_day
from audioctl.runs import RunArchive
from audioctl.states import ExitCode

SLOT, OTHER = SLOTS


def left(day: ProvedDay) -> list[str]:
    """The slots whose archives are still there."""
    return [slot for slot in SLOTS if os.path.lexists(day.archive(slot))]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def clean(day: ProvedDay, *arguments: str) -> Result:
    result = day.workspace.audioctl("clean", DAY, "--archives", *arguments)
    assert "Traceback" not in result.stderr
    return result


# Archives


def test_what_is_proved_is_told_and_deleted_and_nothing_else(stored_day: ProvedDay) -> None:
    beside = stored_day.archive("12_20")
    beside.write_bytes(b"another archive of that day, which nobody has worked on")
    stored = files(stored_day.workspace.storage)
    dry = clean(stored_day, "--dry-run")
    assert (dry.returncode, left(stored_day)) == (ExitCode.DONE, list(SLOTS))
    assert "Would delete 2 of 2 archives, 3.2 kB." in dry.stderr

    result = clean(stored_day)
    assert result.returncode == ExitCode.DONE
    assert result.stdout == dry.stdout
    for slot in SLOTS:
        assert f"{stored_day.archive(slot)}  to be deleted" in result.stdout
    assert "Deleted 2 of 2 archives, 3.2 kB." in result.stderr
    assert left(stored_day) == []
    assert beside.exists()
    assert files(stored_day.workspace.storage) == stored


def test_what_is_deleted_is_done_all_the_same(local_day: ProvedDay) -> None:
    clean(local_day)
    assert local_day.verify() == []
    workspace = local_day.workspace
    assert "Nothing is left to do" in workspace.audioctl("resume", DAY).stderr
    (day,) = json.loads(workspace.audioctl("status", DAY, "--json").stdout)["days"]
    assert (day["state"], day["totals"]["stored"]) == ("done", 8)
    again = clean(local_day)
    assert again.returncode == ExitCode.DONE
    assert again.stdout.count("kept: is gone already") == 2


def test_only_the_slots_that_are_asked_for_are_deleted(local_day: ProvedDay) -> None:
    assert clean(local_day, "--slot", SLOT).returncode == ExitCode.DONE
    assert left(local_day) == [OTHER]


def test_the_answer_as_json_says_what_became_of_each(local_day: ProvedDay) -> None:
    local_day.file(OTHER, "1.mp3").unlink()
    result = clean(local_day, "--json")
    assert result.returncode == ExitCode.LOOK
    answer = json.loads(result.stdout)
    assert answer["scratch"] == []
    assert [(one["slot"], one["deleted"], one["kept"]) for one in answer["archives"]] == [
        (SLOT, True, None),
        (OTHER, False, "1 difference found"),
    ]
    assert answer["archives"][0]["rejected"] == 2
    assert left(local_day) == [OTHER]


def append_nothing_new(day: ProvedDay) -> None:
    day.archive(SLOT).write_bytes(day.archive(SLOT).read_bytes())


def replace_by_a_link(day: ProvedDay) -> None:
    day.archive(SLOT).rename(day.workspace.folder / "elsewhere")
    day.archive(SLOT).symlink_to(day.workspace.folder / "elsewhere")


def read_by_the_other_slot_too(day: ProvedDay) -> None:
    text = day.journal(OTHER).read_text()
    day.journal(OTHER).write_text(text.replace(str(day.archive(OTHER)), str(day.archive(SLOT))))


def read_from(day: ProvedDay, path: Path) -> None:
    """The journal says that this file is the archive; size and time agree."""
    path.parent.mkdir(exist_ok=True)
    day.archive(SLOT).rename(path)
    text = day.journal(SLOT).read_text()
    day.journal(SLOT).write_text(text.replace(str(day.archive(SLOT)), str(path)))
    day.archive(SLOT).touch()


def without(day: ProvedDay, mark: str, instead: str = "") -> None:
    lines = day.journal(SLOT).read_text().splitlines(keepends=True)
    day.journal(SLOT).write_text("".join(instead if mark in line else line for line in lines))


KEPT: dict[str, tuple[Callable[[ProvedDay], object], str]] = {
    "a file is missing": (lambda day: day.file(SLOT, "1.mp3").unlink(), "1 difference found"),
    "a file is short": (lambda day: day.file(SLOT, "1.mp3").write_bytes(b"?"), "1 difference found"),
    "all files are missing": (lambda day: day.workspace.storage.rename(day.workspace.folder / "x"), "4 differences"),
    "a file is unknown": (lambda day: day.file(SLOT, "x.mp3").write_bytes(b"?"), "1 difference found"),
    "a clip's line is gone": (lambda day: without(day, '"ordinal":1,"member"'), "2 differences found"),
    "the journal is damaged": (lambda day: without(day, '"archive_read"', "nonsense\n"), "failed: damaged_journal"),
    "the end is missing": (lambda day: without(day, '"attempt_ended"'), "failed: lost"),
    "not read to its end": (lambda day: without(day, '"archive_read"'), "1 difference found"),
    "the archive was damaged": (
        lambda day: day.journal(SLOT).write_text(
            day.journal(SLOT).read_text().replace('"damage":null,"detail"', '"damage":"cut_off","detail"')
        ),
        "damaged: cut_off",
    ),
    "another attempt was lost": (lambda day: write_journal(day.workspace.state, SLOT, [started(2)]), "failed: lost"),
    "the archive was written again": (append_nothing_new, "has changed since it was read"),
    "the archive is a link": (replace_by_a_link, "is a link, or no file"),
    "it has another name": (
        lambda day: read_from(day, day.workspace.folder / "thesis.tex"),
        "is not named as paths.pattern has it",
    ),
    "it has the name of another slot": (
        lambda day: read_from(day, day.archive("12_20")),
        "is not named as paths.pattern has it",
    ),
    "it lies elsewhere": (
        lambda day: read_from(day, day.workspace.folder / "elsewhere" / day.archive(SLOT).name),
        "is neither in",
    ),
    "it belongs to another user": (
        lambda day: os.chown(day.archive(SLOT), 65534, -1),
        "belongs to another user",
    ),
    "two slots read it": (read_by_the_other_slot_too, "is the archive of another slot, too"),
}


@pytest.mark.parametrize("trouble", KEPT)
def test_what_is_not_proved_is_kept_and_the_reason_told(trouble: str, local_day: ProvedDay) -> None:
    make_trouble, why = KEPT[trouble]
    make_trouble(local_day)
    result = clean(local_day)
    assert result.returncode == ExitCode.LOOK
    (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"{DAY}  {SLOT}")]
    assert f"kept: {why}" in line
    assert SLOT in left(local_day)
    if trouble not in ("all files are missing", "two slots read it"):
        assert left(local_day) == [SLOT]


def test_what_a_run_says_it_was_to_read_may_lie_anywhere(local_day: ProvedDay) -> None:
    """`submit-day --archives` has read other folders than the settings name."""
    path = local_day.workspace.folder / "elsewhere" / local_day.archive(SLOT).name
    read_from(local_day, path)
    run_id = "20250125T123000Z-0001"
    submit(local_day.workspace.state, [SLOT], run_id, archives=[RunArchive(SLOT, str(path), "0")])
    text = local_day.journal(SLOT).read_text()
    local_day.journal(SLOT).write_text(text.replace('"run_id":null', f'"run_id":"{run_id}"'))
    assert clean(local_day, "--slot", SLOT).returncode == ExitCode.DONE
    assert not path.exists()
    assert left(local_day) == list(SLOTS)


def test_contents_are_proved_when_asked(local_day: ProvedDay) -> None:
    file = local_day.file(SLOT, "1.mp3")
    file.write_bytes(b"x" * file.stat().st_size)
    assert clean(local_day, "--checksum").returncode == ExitCode.LOOK
    assert left(local_day) == [SLOT]


def test_rows_are_proved_too(recorded_day: ProvedDay) -> None:
    assert recorded_day.connection is not None
    recorded_day.connection.execute(f"delete from transcripts where transcript_text = 'words of {SLOT} 1'")
    assert clean(recorded_day).returncode == ExitCode.LOOK
    assert left(recorded_day) == [SLOT]


def test_nothing_is_deleted_where_rows_belong_to_it_and_cannot_be_looked_at(recorded_day: ProvedDay) -> None:
    recorded_day.workspace.configure("database", enabled=False)
    result = clean(recorded_day)
    assert result.returncode == ExitCode.LOOK
    assert "kept: its rows were not looked at, because database.enabled is not set" in result.stdout
    assert left(recorded_day) == list(SLOTS)


def test_nothing_is_deleted_where_the_destination_cannot_be_looked_at(local_day: ProvedDay) -> None:
    for slot in SLOTS:
        text = local_day.journal(slot).read_text()
        local_day.journal(slot).write_text(text.replace(f'"{local_day.destination}"', '"rsync://127.0.0.1:1/radio"'))
    result = clean(local_day)
    assert result.returncode == ExitCode.FAILED
    assert left(local_day) == list(SLOTS)


def test_an_archive_that_is_being_worked_on_is_kept(local_day: ProvedDay) -> None:
    write_journal(local_day.workspace.state, SLOT, [started(2)])
    with holder_process(lease_path(local_day.journal(SLOT))):
        result = clean(local_day)
    assert "kept: running" in result.stdout
    assert left(local_day) == [SLOT]


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (lambda day: write_journal(day.workspace.state, SLOT, [started(2)]), "a job has worked on it meanwhile"),
        (append_nothing_new, "has changed since it was read"),
        (lambda day: day.archive(SLOT).unlink(), "is gone already"),
    ],
)
def test_what_happens_between_the_proof_and_the_deletion_is_noticed(
    meanwhile: Callable[[ProvedDay], object], why: str, local_day: ProvedDay
) -> None:
    settings = local_day.workspace.settings
    proof = prove(settings, DAY, [], checksum=False)
    with open_ledger(local_day.workspace.state):
        status = one_day(DAY)
    assert proof is not None
    assert status is not None
    found = decide(status.archives or [], proof, settings)
    assert [one.kept for one in found] == [None, None]
    meanwhile(local_day)
    assert delete(found[0], proof, local_day.workspace.state) == why
    with holder_process(lease_path(local_day.journal(OTHER))):
        assert delete(found[1], proof, local_day.workspace.state) == "is being worked on"
    assert left(local_day)[-1] == OTHER


@pytest.mark.parametrize(("answer", "expected"), [("n", list(SLOTS)), ("y", [])])
def test_on_a_terminal_a_person_is_asked_first(answer: str, expected: list[str], local_day: ProvedDay) -> None:
    ours, theirs = pty.openpty()
    process = local_day.workspace.start("clean", DAY, "--archives", stdin=theirs)
    os.write(ours, f"{answer}\n".encode())
    stdout, stderr = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "Delete 2 of 2 archives, 3.2 kB? [y/N]" in stderr
    assert stdout.count("to be deleted") == 2
    assert left(local_day) == expected


# Scratch


@pytest.mark.parametrize("arguments", [(), (DAY,)])
def test_without_archives_only_the_scratch_of_dead_jobs_goes(arguments: tuple[str, ...], local_day: ProvedDay) -> None:
    scratch = local_day.workspace.scratch
    dead = start_holder(scratch)
    (left_behind,) = scratch.iterdir()
    # The next one comes beside it, because a job removes only what the dead have left.
    living = start_holder(scratch)
    others = [scratch / "audioctl.other-node.abc", scratch / "data"]
    for other in others:
        other.mkdir()
    try:
        dead.kill()
        dead.wait()
        before = files(local_day.workspace.storage) | {str(local_day.archive(slot)): b"" for slot in SLOTS}
        kept = sorted(set(scratch.iterdir()) - {left_behind})

        dry = local_day.workspace.audioctl("clean", *arguments, "--dry-run")
        assert str(left_behind) in dry.stdout
        assert left_behind.exists()
        result = local_day.workspace.audioctl("clean", *arguments)
        assert (result.returncode, result.stdout) == (ExitCode.DONE, dry.stdout)
        assert sorted(scratch.iterdir()) == kept
        assert len(kept) == 3
        assert left(local_day) == list(SLOTS)
        assert all(Path(path).exists() for path in before)
    finally:
        living.kill()
        living.wait()


@pytest.mark.parametrize(
    ("arguments", "hint"), [(["--archives"], "audioctl clean 2025-01-25 --archives"), ([DAY, "--checksum"], "Nothing")]
)
def test_half_a_wish_is_wrong_usage(arguments: list[str], hint: str, workspace: Workspace) -> None:
    result = workspace.audioctl("clean", *arguments)
    assert result.returncode == ExitCode.USAGE
    assert hint in result.stderr


def test_a_day_that_is_not_known_is_wrong_usage(workspace: Workspace) -> None:
    result = workspace.audioctl("clean", DAY, "--archives")
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
