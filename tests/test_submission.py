"""Which archives a run is made of, and a whole day submitted as a user does it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from journals import holder_process, started, submit, whole_archive, write_journal

from audioctl.archives import Archive
from audioctl.cli.submitting import refuse_what_is_under_way
from audioctl.configuration import freeze, load_settings
from audioctl.demo import make_demo_day
from audioctl.errors import AlreadySubmittedError
from audioctl.executors.base import Submitted
from audioctl.executors.local import LocalExecutor, job_id, read_ended
from audioctl.ledger.events import ArchiveFile
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import lease_path
from audioctl.ledger.queries import ArchiveStatus, BatchCounts
from audioctl.runs import CONFIG_FILE, JOB_SCRIPT, Run, log_path, mark_cancelled, read_run, run_folder, runs_of_day
from audioctl.settings import Paths, Settings
from audioctl.states import ArchiveState
from audioctl.submission import (
    choose_slots,
    decide_resumption,
    decide_submission,
    known_archive,
    one_at_a_time,
    prepare_run,
    submit_run,
)

DAY = "2025-01-25"
READ = ArchiveFile("/staging/12_30.tar", 1_000, 7)
SAME = Archive(DAY, "12_30", Path("/staging/12_30.tar"), 1_000, 7)
REPLACED = Archive(DAY, "12_30", Path("/staging/12_30.tar"), 1_200, 9)


def status(state: ArchiveState, **changes: Any) -> ArchiveStatus:
    found = ArchiveStatus(
        slot="12_30", path="/staging/12_30.tar", state=state, attempt=1, run_id="run", job_id="77_0", node="gpu1",
        batches=BatchCounts(5, 3, 0), clips=600, stored=600, rejected=0, skipped=0, audio_seconds=9e3, owed_record=0,
        owed_upload=0, started_at=None, finished_at=None, reason=None, error=None,
    )  # fmt: skip
    return msgspec.structs.replace(found, **changes)


SUBMITTED = {
    "new": (None, SAME, True, "new"),
    "pending": (status(ArchiveState.PENDING), SAME, True, "new"),
    "waiting": (status(ArchiveState.SUBMITTED), SAME, False, "submitted as job 77_0"),
    "running": (status(ArchiveState.RUNNING), SAME, False, "running as job 77_0"),
    "cancelled": (status(ArchiveState.CANCELLED), SAME, True, "was cancelled"),
    "failed": (status(ArchiveState.FAILED, reason="lost"), SAME, True, "its job went away after 3 batches"),
    "done": (status(ArchiveState.DONE), SAME, False, "done"),
    "done, replaced since": (status(ArchiveState.DONE), REPLACED, True, "has changed"),
    "damaged": (status(ArchiveState.DAMAGED, reason="cut_off"), SAME, False, "cut_off"),
    "damaged, replaced since": (status(ArchiveState.DAMAGED), REPLACED, True, "has been replaced"),
}

RESUMED = {
    "running": (status(ArchiveState.RUNNING), SAME, False, "running"),
    "pending": (status(ArchiveState.PENDING), SAME, False, "pending"),
    "cancelled": (status(ArchiveState.CANCELLED), SAME, False, "submit it again"),
    "done": (status(ArchiveState.DONE), SAME, False, "done"),
    "done, replaced since": (status(ArchiveState.DONE), REPLACED, True, "has changed"),
    "damaged": (status(ArchiveState.DAMAGED, reason="cut_off"), SAME, False, "a whole copy is needed"),
    "damaged, replaced since": (status(ArchiveState.DAMAGED), REPLACED, True, "has been replaced"),
    "lost": (status(ArchiveState.FAILED, reason="lost"), SAME, True, "went away after 3 batches"),
    "drained": (status(ArchiveState.FAILED, reason="drained"), SAME, True, "ended early by a signal after 3 batches"),
    "owed files": (status(ArchiveState.FAILED, reason="owed", owed_upload=9), SAME, True, "owes 9 files to upload"),
    "owed rows": (status(ArchiveState.FAILED, reason="owed", owed_record=4), SAME, True, "owes 4 rows to record"),
    "an error": (
        status(ArchiveState.FAILED, reason="failed", error="No model.\nMore."),
        SAME,
        True,
        "failed: No model.",
    ),
}


@pytest.mark.parametrize(("known", "archive", "submit", "why"), SUBMITTED.values(), ids=SUBMITTED)
def test_submitting_a_day_takes_what_is_neither_done_nor_under_way(
    known: ArchiveStatus | None, archive: Archive, submit: bool, why: str
) -> None:
    decision = decide_submission(archive, known, READ if known else None)
    assert decision.submit is submit
    assert why in decision.why


@pytest.mark.parametrize(("known", "archive", "submit", "why"), RESUMED.values(), ids=RESUMED)
def test_resuming_takes_what_failed_or_was_replaced(
    known: ArchiveStatus, archive: Archive, submit: bool, why: str
) -> None:
    decision = decide_resumption(archive, known, READ)
    assert decision.submit is submit
    assert why in decision.why


def test_an_archive_that_was_cleaned_up_has_not_changed(tmp_path: Path) -> None:
    known = status(ArchiveState.DONE, path=str(tmp_path / "gone.tar"))
    found = known_archive(DAY, known, READ)
    assert (found.size_bytes, found.mtime_ns) == (READ.size_bytes, READ.mtime_ns)
    assert not decide_resumption(found, known, READ).submit
    assert decide_resumption(known_archive(DAY, known, None), status(ArchiveState.FAILED), None).submit


def test_an_archive_with_other_content_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "12_30.tar"
    path.write_bytes(b"another archive")
    known = status(ArchiveState.DONE, path=str(path))
    assert decide_resumption(known_archive(DAY, known, READ), known, READ).submit


def test_slots_are_chosen_by_name_or_all() -> None:
    other = Archive(DAY, "12_40", Path("/staging/12_40.tar"), 1, 1)
    assert choose_slots([SAME, other], ["12_40"]) == [other]
    assert choose_slots([SAME, other], []) == [SAME, other]


def test_a_prepared_run_is_nowhere_until_it_is_submitted(tmp_path: Path) -> None:
    settings = freeze(Settings(paths=Paths(state_dir=str(tmp_path / "state"))), tmp_path)
    other = Archive(DAY, "12_40", Path("/staging/it's/12_40.tar"), 1, 1)
    executor = LocalExecutor()
    prepared = prepare_run(DAY, [SAME, other], settings, executor, max_concurrent=1)
    assert not (tmp_path / "state").exists()
    assert prepared.folder == run_folder(tmp_path / "state", prepared.run)
    assert [(archive.slot, archive.path) for archive in prepared.run.archives] == [
        ("12_30", "/staging/12_30.tar"),
        ("12_40", "/staging/it's/12_40.tar"),
    ]
    assert len({archive.job for archive in prepared.run.archives}) == 2

    class Quiet(LocalExecutor):
        def submit(self, folder: Path, run: Run, after: Sequence[str]) -> Submitted:
            assert read_run(folder) == run
            assert after == ()
            return Submitted({})

    submit_run(prepared, Quiet())
    assert runs_of_day(tmp_path / "state", DAY) == [prepared.run]
    assert (prepared.folder / JOB_SCRIPT).read_text() == prepared.files[JOB_SCRIPT]
    frozen = load_settings(
        {}, config_file=prepared.folder / CONFIG_FILE, environ={"AUDIOCTL_UPLOAD__ATTEMPTS": "9"}, cwd=tmp_path
    )
    assert frozen.settings == settings


# As a user does it

SLOTS = ["12_00", "12_10", "12_20"]
ARCHIVE_KEYS = {
    "slot", "path", "state", "attempt", "run_id", "job_id", "node", "batches", "clips", "stored", "rejected", "skipped",
    "audio_seconds", "owed_record", "owed_upload", "started_at", "finished_at", "reason", "error",
}  # fmt: skip
TOTALS_KEYS = {
    "archives", "done", "failed", "clips", "stored", "rejected", "skipped", "audio_seconds", "owed_record",
    "owed_upload",
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample day, submitted and done."""
    folder = tmp_path_factory.mktemp("project")
    make_demo_day(folder / "archives" / DAY, DAY, SLOTS, clips_per_archive=4)
    result = audioctl(
        folder, "submit-day", DAY, "--archives", "archives/{day}", "--wait", "--max-concurrent", "2",
        "--model", "bundled", "--device", "cpu",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "3 of 3 archives are done" in result.stderr
    return folder


def audioctl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    return subprocess.run(
        [sys.executable, "-m", "audioctl", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_submitted_day_is_done(project: Path) -> None:
    (run,) = runs_of_day(project / "audioctl-state", DAY)
    folder = run_folder(project / "audioctl-state", run)
    assert {ended.job_id: ended.exit_code for ended in read_ended(folder)} == {
        job_id(run, archive): 0 for archive in run.archives
    }
    for archive in run.archives:
        assert "clips transcribed (" in log_path(folder, archive.slot).read_text()
    files = list((project / "audioctl-storage").rglob("*.opus"))
    assert len(files) == 14, "four clips in each of three archives, one silent and one cut off"


@pytest.mark.parametrize("arguments", [(), (DAY,)])
def test_status_as_json_has_the_promised_keys(project: Path, arguments: tuple[str, ...]) -> None:
    result = audioctl(project, "status", *arguments, "--json")
    assert result.returncode == 0
    found = msgspec.json.decode(result.stdout)
    assert found.keys() == {"schema", "generated_at", "days"}
    assert found["schema"] == 1
    (day,) = found["days"]
    assert day.keys() >= {"day", "state", "totals", "archives"}
    assert (day["day"], day["state"]) == (DAY, "done")
    assert day["totals"].keys() >= TOTALS_KEYS
    assert [archive["slot"] for archive in day["archives"]] == SLOTS
    (run,) = runs_of_day(project / "audioctl-state", DAY)
    for archive, submitted in zip(day["archives"], run.archives, strict=True):
        assert archive.keys() == ARCHIVE_KEYS
        assert archive["batches"] == {"seen": 1, "done": 1, "failed": 0}
        assert (archive["run_id"], archive["job_id"]) == (run.run_id, job_id(run, submitted))
        assert archive["started_at"] <= archive["finished_at"] <= found["generated_at"]
    for name in ("clips", "stored", "rejected", "skipped"):
        assert day["totals"][name] == sum(archive[name] for archive in day["archives"])
    assert (day["totals"]["clips"], day["totals"]["rejected"], day["totals"]["skipped"]) == (15, 1, 1)


def test_resuming_a_done_day_has_nothing_to_do(project: Path) -> None:
    for arguments in ((), (DAY,)):
        result = audioctl(project, "resume", *arguments)
        assert (result.returncode, result.stdout) == (0, "")
        assert "Nothing is left to do" in result.stderr


def test_resuming_tells_what_is_under_way_from_what_is_done(tmp_path: Path) -> None:
    state = tmp_path / "audioctl-state"
    write_journal(state, "12_30", [started()])
    write_journal(state, "12_40", whole_archive())
    with holder_process(lease_path(journal_path(state, DAY, "12_30"))):
        result = audioctl(tmp_path, "resume", DAY)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "Nothing to submit: 1 archive is under way.\n"


@pytest.mark.parametrize("arguments", [(), (DAY,)])
def test_resuming_says_that_what_was_cancelled_is_left_alone(arguments: tuple[str, ...], tmp_path: Path) -> None:
    mark_cancelled(submit(tmp_path / "audioctl-state", ["12_30", "12_40"]))
    result = audioctl(tmp_path, "resume", *arguments)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == (
        "Nothing is left to do.\n"
        f"What was cancelled stays so (archives of {DAY}); `audioctl submit-day {DAY}` submits it again.\n"
    )


def test_submitting_a_done_day_again_leaves_all_alone(project: Path) -> None:
    result = audioctl(project, "submit-day", DAY)
    assert result.returncode == 0
    assert "Nothing was submitted" in result.stderr
    assert result.stdout.count("left alone: done") == len(SLOTS)
    assert len(runs_of_day(project / "audioctl-state", DAY)) == 1


def test_a_rebuilt_ledger_says_the_same_of_a_real_day(project: Path) -> None:
    before = msgspec.json.decode(audioctl(project, "status", "--json").stdout)["days"]
    assert audioctl(project, "ledger", "rebuild").returncode == 0
    assert msgspec.json.decode(audioctl(project, "status", "--json").stdout)["days"] == before


def test_a_day_whose_job_fails_is_a_failure_and_the_log_says_why(tmp_path: Path) -> None:
    make_demo_day(tmp_path / "archives" / DAY, DAY, ["13_00"], clips_per_archive=1)
    model = tmp_path / "damaged"
    model.mkdir()
    for name in ("model.bin", "tokenizer.json"):
        (model / name).write_text("nonsense")
    result = audioctl(tmp_path, "submit-day", DAY, "--wait", "--model", str(model), "--device", "cpu")
    assert result.returncode == 1
    assert "13_00: failed" in result.stderr
    (run,) = runs_of_day(tmp_path / "audioctl-state", DAY)
    log = log_path(run_folder(tmp_path / "audioctl-state", run), "13_00")
    assert str(model) in log.read_text()


def test_a_day_whose_model_is_nowhere_is_not_submitted(tmp_path: Path) -> None:
    make_demo_day(tmp_path / "archives" / DAY, DAY, ["13_00"], clips_per_archive=1)
    result = audioctl(tmp_path, "submit-day", DAY, "--model", "/nowhere")
    assert result.returncode == 4
    assert "There is no folder /nowhere." in result.stderr
    assert not (tmp_path / "audioctl-state" / "runs").exists()


def test_what_is_under_way_is_refused_with_its_job() -> None:
    decision = decide_submission(SAME, status(ArchiveState.RUNNING), READ)
    done = decide_submission(SAME, status(ArchiveState.DONE), READ)
    with pytest.raises(AlreadySubmittedError, match="1 archive of 2025-01-25 is under way as job 77"):
        refuse_what_is_under_way([decision, done], DAY)
    refuse_what_is_under_way([done], DAY)
    refuse_what_is_under_way([decision, decide_submission(SAME, None, None)], DAY)


def test_two_submissions_at_once_take_turns(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path):
        with (
            pytest.raises(AlreadySubmittedError, match="is submitting jobs"),
            one_at_a_time(tmp_path, patience_seconds=0.1, look_seconds=0.01),
        ):
            pass
        other = threading.Thread(target=enter_and_leave, args=(tmp_path,))
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join()


def enter_and_leave(state_dir: Path) -> None:
    with one_at_a_time(state_dir, look_seconds=0.01):
        pass
