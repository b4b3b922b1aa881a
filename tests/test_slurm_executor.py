"""Submitting runs to Slurm, with prepared answers of Slurm's commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_slurm import DOWN, TIMED_OUT, FakeSlurm, squeue_row
from fake_submissions import DAY, SLOTS, aged, in_doubt, prepare, sbatch_numbers
from ledgers import archives as archives_of_day

from audioctl.errors import ConfigurationError, LedgerError, SchedulerError, SchedulerSilentError
from audioctl.executors.base import Submitted
from audioctl.executors.slurm import SlurmExecutor, job_name
from audioctl.executors.slurm_jobs import LATE_SECONDS
from audioctl.jobs import JobPhase
from audioctl.runs import run_folder
from audioctl.settings import Settings, Slurm
from audioctl.states import ArchiveState
from audioctl.submission import PreparedRun, submit_run

REFUSED = "sbatch: error: Batch job submission failed: Invalid partition name specified"


def written(prepared: PreparedRun) -> dict[str, str]:
    """The numbers in the run's folder."""
    return {path.stem: path.read_text().strip() for path in prepared.folder.glob("*.job")}


# Which job works on which archive


@pytest.mark.parametrize(
    ("max_array_size", "archives_per_job", "jobs"),
    [
        (1001, 1, ["0_0", "0_1", "0_2", "0_3", "0_4"]),
        (1001, 2, ["0_0", "0_0", "0_1", "0_1", "0_2"]),
        (2, 1, ["0_0", "0_1", "1_0", "1_1", "2_0"]),
        (2, 2, ["0_0", "0_0", "0_1", "0_1", "1_0"]),
    ],
)
def test_archives_share_tasks_and_tasks_fill_arrays(
    fake: FakeSlurm, max_array_size: int, archives_per_job: int, jobs: list[str]
) -> None:
    fake.prepare("scontrol", f"Configuration data\nMaxArraySize            = {max_array_size}\nMaxDBDMsgs = 2\n")
    assert SlurmExecutor().plan(5, Settings(slurm=Slurm(archives_per_job=archives_per_job))) == jobs
    assert [call.command for call in fake.calls] == [["scontrol", "show", "config"]]


def test_a_cluster_without_arrays_is_told(fake: FakeSlurm) -> None:
    fake.prepare("scontrol", "MaxArraySize = 1\n")
    with pytest.raises(ConfigurationError, match="MaxArraySize"):
        SlurmExecutor().plan(1, Settings())


def test_a_cluster_that_does_not_tell_how_long_arrays_may_be_is_told(fake: FakeSlurm) -> None:
    fake.prepare("scontrol", "MaxJobCount = 1\n")
    with pytest.raises(SchedulerError, match="MaxArraySize"):
        SlurmExecutor().plan(1, Settings())


# Submitting


def test_a_day_is_one_array_and_a_job_behind_it(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    sbatch_numbers(fake, "5", "6")
    assert submit_run(prepared, SlurmExecutor()) == Submitted({"0_0": "5_0", "0_1": "5_1", "0_2": "5_2"}, ("5",))
    folder = prepared.folder
    assert [call.command for call in fake.calls] == [
        ["sbatch", "--parsable", str(folder / "array-0.sbatch")],
        ["sbatch", "--parsable", "--dependency=afterany:5", str(folder / "finish.sbatch")],
    ]
    assert written(prepared) == {"array-0": "5", "finish": "6"}
    assert (folder / "finish.job").read_text() == "6\n"


def test_the_number_is_found_in_the_answer_of_several_clusters(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    sbatch_numbers(fake, "5;lab", "6;lab")
    assert submit_run(prepared, SlurmExecutor()).numbers == ("5",)
    assert written(prepared) == {"array-0": "5", "finish": "6"}


def test_arrays_of_a_split_day_wait_for_each_other_and_the_last_job_for_all(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state, max_array_size=2)
    sbatch_numbers(fake, "5", "6", "7")
    submitted = submit_run(prepared, SlurmExecutor(), ["3", "4"])
    assert submitted.job_ids == {"0_0": "5_0", "0_1": "5_1", "1_0": "6_0"}
    assert submitted.numbers == ("5", "6")
    dependencies = [call.option("dependency") for call in fake.calls]
    assert dependencies == ["afterany:3:4", "afterany:5", "afterany:5:6"]
    assert written(prepared) == {"array-0": "5", "array-1": "6", "finish": "7"}


def test_sbatch_hears_nothing_of_the_job_that_submits(
    fake: FakeSlurm, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SBATCH_JOB_NAME", "SBATCH_OUTPUT"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/lab.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "phonetics")
    sbatch_numbers(fake, "5", "6")
    submit_run(prepare(fake, state), SlurmExecutor())
    for call in fake.calls:
        seen = {name: value for name, value in call.environment.items() if name.startswith(("SLURM_", "SBATCH_"))}
        assert seen == {"SLURM_CONF": "/etc/lab.conf", "SBATCH_ACCOUNT": "phonetics", "SLURM_BITSTR_LEN": "0"}


# Refusals


def test_of_a_run_that_was_refused_nothing_is_left(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    fake.fail("sbatch", REFUSED)
    with pytest.raises(SchedulerError, match="Invalid partition name specified") as caught:
        submit_run(prepared, SlurmExecutor())
    assert "slurm.partition" in str(caught.value.hint)
    assert list(prepared.folder.parent.iterdir()) == []
    assert fake.programs == ["sbatch"]


def test_without_sbatch_nothing_is_left(fake: FakeSlurm, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(fake, state)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SchedulerError, match="no sbatch here"):
        submit_run(prepared, SlurmExecutor())
    assert not prepared.folder.exists()


def test_where_the_second_array_is_refused_the_first_is_ended(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state, max_array_size=2)
    sbatch_numbers(fake, "5")
    fake.fail("sbatch", REFUSED)
    fake.prepare("scancel")
    with pytest.raises(SchedulerError, match="Invalid partition") as caught:
        submit_run(prepared, SlurmExecutor())
    assert not isinstance(caught.value, SchedulerSilentError)
    assert fake.calls[-1].command == ["scancel", "5"]
    assert not prepared.folder.exists()


def test_a_first_array_that_cannot_be_ended_keeps_its_run(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state, max_array_size=2)
    sbatch_numbers(fake, "5")
    fake.fail("sbatch", REFUSED)
    fake.fail("scancel", "scancel: error: Kill job error on job id 5: Unable to contact slurm controller")
    with pytest.raises(SchedulerSilentError, match=r"Invalid partition.*Unable to contact") as caught:
        submit_run(prepared, SlurmExecutor())
    assert f"audioctl cancel {DAY}" in str(caught.value.hint)
    assert written(prepared) == {"array-0": "5"}


@pytest.mark.parametrize("said", [REFUSED, TIMED_OUT])
def test_without_a_job_that_finishes_it_the_day_is_submitted_and_that_is_told(
    fake: FakeSlurm, state: Path, said: str
) -> None:
    prepared = prepare(fake, state)
    sbatch_numbers(fake, "5")
    fake.fail("sbatch", said)
    fake.fail("squeue", DOWN)
    submitted = submit_run(prepared, SlurmExecutor())
    assert submitted.numbers == ("5",)
    assert len(submitted.remarks) == 1
    assert "Slurm says (sbatch)" in submitted.remarks[0]
    assert f"audioctl resume {DAY}" in submitted.remarks[0]
    assert not (prepared.folder / "finish.job").exists()


# Submissions that sbatch got no answer to


def test_a_job_that_was_taken_without_an_answer_is_found_by_its_name(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    fake.fail("sbatch", TIMED_OUT)
    sbatch_numbers(fake, "78")
    fake.fail("squeue", DOWN)
    fake.prepare("squeue", "ARRAY_JOB_ID|NAME\n")
    fake.prepare("squeue", f"ARRAY_JOB_ID|NAME\n77|{job_name(prepared.run.run_id, '0')}\n")
    submitted = submit_run(prepared, SlurmExecutor())
    assert submitted.job_ids["0_2"] == "77_2"
    assert written(prepared) == {"array-0": "77", "finish": "78"}
    assert fake.programs == ["sbatch", "squeue", "squeue", "squeue", "sbatch"]
    assert fake.calls[1].option("name") == job_name(prepared.run.run_id, "0")
    assert fake.calls[-1].option("dependency") == "afterany:77"


def test_a_job_that_slurm_does_not_know_was_not_submitted(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    fake.fail("sbatch", TIMED_OUT)
    fake.prepare("squeue", "ARRAY_JOB_ID|NAME\n")
    with pytest.raises(SchedulerError, match="timed out") as caught:
        submit_run(prepared, SlurmExecutor())
    assert not isinstance(caught.value, SchedulerSilentError)
    assert not prepared.folder.exists()


@pytest.mark.parametrize("last_answer", ["none", "the first one"])
def test_while_slurm_is_silent_a_submission_is_in_doubt_and_kept(
    fake: FakeSlurm, state: Path, last_answer: str
) -> None:
    """The first answer of a controller that comes back may be given before it looks at the submission."""
    prepared = prepare(fake, state)
    fake.fail("sbatch", TIMED_OUT)
    for _ in range(3):
        fake.fail("squeue", DOWN)
    if last_answer == "the first one":
        fake.prepare("squeue", "ARRAY_JOB_ID|NAME\n")
    with pytest.raises(SchedulerSilentError, match=r"timed out.*not known") as caught:
        submit_run(prepared, SlurmExecutor())
    assert "audioctl status" in str(caught.value.hint)
    assert (prepared.folder / "run.json").exists()
    assert written(prepared) == {}


def test_a_silent_second_array_leaves_the_first_one_alone(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state, max_array_size=2)
    sbatch_numbers(fake, "5")
    fake.fail("sbatch", TIMED_OUT)
    fake.fail("squeue", DOWN)
    with pytest.raises(SchedulerSilentError):
        submit_run(prepared, SlurmExecutor())
    assert written(prepared) == {"array-0": "5"}
    assert "scancel" not in fake.programs


def test_an_answer_that_is_no_number_leaves_the_run_in_doubt(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    sbatch_numbers(fake, "Submitted batch job 5")
    with pytest.raises(SchedulerSilentError, match="Submitted batch job 5"):
        submit_run(prepared, SlurmExecutor())
    assert prepared.folder.exists()


def test_a_number_that_cannot_be_written_is_told_and_the_run_kept(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    fake.prepare_commands("sbatch", f"mkdir {prepared.folder}/array-0.job; echo 5")
    with pytest.raises(LedgerError, match=r"array-0\.job cannot be written"):
        submit_run(prepared, SlurmExecutor())
    assert (prepared.folder / "run.json").exists()


def test_a_submission_in_doubt_counts_as_submitted_until_it_is_found(fake: FakeSlurm, state: Path) -> None:
    run = in_doubt(fake, state)
    fake.fail("squeue", DOWN)
    fake.prepare_squeue()
    fake.prepare_squeue(squeue_row("0-2", "PENDING", name=job_name(run.run_id, "0"), number="77", reason="Priority"))
    for _ in range(2):
        assert {status.state for status in archives_of_day(state, DAY).values()} == {ArchiveState.SUBMITTED}
        assert not (run_folder(state, run) / "array-0.job").exists()
    found = archives_of_day(state, DAY)
    assert {slot: status.job_id for slot, status in found.items()} == dict(
        zip(SLOTS, ["77_0", "77_1", "77_2"], strict=True)
    )
    assert (run_folder(state, run) / "array-0.job").read_text() == "77\n"


def test_a_submission_in_doubt_that_slurm_still_does_not_have_was_not_taken(fake: FakeSlurm, state: Path) -> None:
    run = in_doubt(fake, state)
    fake.prepare_squeue()
    found = SlurmExecutor().look(state, [aged(run, LATE_SECONDS + 5)], print)
    assert {(status.phase, status.is_final) for status in found.values()} == {(JobPhase.GONE, True)}
    assert "not taken" in str(found[run.run_id, "12_00"].detail)


def test_a_number_that_was_found_and_cannot_be_kept_is_used_all_the_same(fake: FakeSlurm, state: Path) -> None:
    run = in_doubt(fake, state)
    fake.prepare_squeue(squeue_row("0-2", "RUNNING", name=job_name(run.run_id, "0"), number="77"))
    run_folder(state, run).rename(state / "elsewhere")
    assert SlurmExecutor().look(state, [run], print)[run.run_id, "12_10"].job_id == "77_1"
