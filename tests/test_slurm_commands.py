"""Calling Slurm's commands, and its own words with what to do about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, install

from audioctl.errors import SchedulerError, SchedulerSilentError
from audioctl.executors.slurm_commands import environment, refusal, slurm, table

REFUSED = "sbatch: error: Batch job submission failed: "
NOT_AVAILABLE = f"{REFUSED}Requested node configuration is not available"
POLICY = f"{REFUSED}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"

SAID = {
    "no such partition": (
        f"sbatch: error: invalid partition specified: nosuch\n{REFUSED}Invalid partition name specified",
        "slurm.partition",
    ),
    "a partition of others": (f"{REFUSED}User's group not permitted to use this partition", "slurm.partition"),
    "no such account": (f"{REFUSED}Invalid account or account/partition combination specified", "slurm.account"),
    "no such qos": (f"{REFUSED}Invalid qos specification", "slurm.qos"),
    "no such gres": ("sbatch: error: Invalid generic resource (gres) specification", "slurm.gres"),
    "no such feature": (f"{REFUSED}Invalid feature specification", "slurm.constraint"),
    "no such reservation": (f"{REFUSED}Requested reservation is invalid", "slurm.reservation"),
    "no such node": (f"{REFUSED}Invalid node name specified", "slurm.exclude"),
    "too many gpus": (NOT_AVAILABLE, "gpus"),
    "too much memory": (f"sbatch: error: Memory specification can not be satisfied\n{NOT_AVAILABLE}", "slurm.mem"),
    "too many cores": (
        f"sbatch: error: CPU count per node can not be satisfied\n{NOT_AVAILABLE}",
        "slurm.cpus_per_task",
    ),
    "too much time": (f"{REFUSED}Requested time limit is invalid (missing or exceeds some limit)", "slurm.time"),
    "too much time for the qos": (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}", "slurm.time"),
    "no time at all": ("sbatch: error: Invalid --time specification", "slurm.time"),
    "no memory at all": ("sbatch: error: Invalid --mem specification", "of that name"),
    "too many jobs of the account": (f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}", "slurm.archives_per_job"),
    "too many jobs of the qos": (f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}", "slurm.archives_per_job"),
    "too many jobs of all": (
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
        f"{REFUSED}Resource temporarily unavailable",
        "try again later",
    ),
    "a long array": (f"{REFUSED}Invalid job array specification", "slurm.archives_per_job"),
    "a dependency": (f"{REFUSED}Job dependency problem", "slurm.extra"),
    "an unknown option": (
        "sbatch: unrecognized option '--nosuch=1'\nTry \"sbatch --help\" for more information",
        "slurm.extra",
    ),
    "an unknown license": (f"{REFUSED}Invalid license specification", "slurm.extra"),
    "no munge": (
        'sbatch: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2"\n'
        f"{REFUSED}Protocol authentication error",
        "administrators",
    ),
    "no cluster": ("sbatch: fatal: Could not establish a configuration source", "login node"),
    "no configuration": ("squeue: error: s_p_parse_file: cannot stat file /x: No such file", "SLURM_CONF"),
    "no controller": (f"{REFUSED}Unable to contact slurm controller (connect failure)", "controller is down"),
    "jobs of others": ("scancel: error: Kill job error on job id 12: Access/permission denied", "submitted the jobs"),
}

SILENT = {
    "a frozen controller": f"{REFUSED}Socket timed out on send/recv operation",
    "a controller that went away": f"{REFUSED}Zero Bytes were transmitted or received",
    "a controller of another version": f"{REFUSED}Unexpected message received",
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return install(tmp_path, monkeypatch)


@pytest.mark.parametrize(("said", "hint"), SAID.values(), ids=SAID)
def test_a_refusal_has_slurms_own_words_and_the_setting_to_change(said: str, hint: str) -> None:
    error = refusal("sbatch", said)
    assert not isinstance(error, SchedulerSilentError)
    assert hint in str(error.hint)
    for line in said.splitlines():
        words = line.removeprefix("sbatch: ").removeprefix("error: ").removeprefix("fatal: ")
        assert words in error.message
    assert "sbatch: error" not in error.message


@pytest.mark.parametrize("said", SILENT.values(), ids=SILENT)
def test_after_some_words_the_controller_may_have_done_what_it_was_asked(said: str) -> None:
    assert isinstance(refusal("sbatch", said), SchedulerSilentError)


def test_a_controller_that_hangs_is_told_as_one() -> None:
    assert "hangs" in str(refusal("squeue", SILENT["a frozen controller"]).hint)


def test_words_that_nobody_has_foreseen_are_told_without_advice() -> None:
    error = refusal("sbatch", "sbatch: error: The moon is full.\n")
    assert error.message == "Slurm says (sbatch): The moon is full."
    assert error.hint is None


def test_a_command_that_fails_without_a_word_is_told(fake: FakeSlurm) -> None:
    fake.prepare("squeue", "half an answer", code=3)
    with pytest.raises(SchedulerError, match=r"squeue.*did not say why"):
        slurm("squeue")


def test_an_answer_is_what_was_printed_whatever_bytes_it_has(fake: FakeSlurm) -> None:
    fake.prepare_commands("squeue", r"printf '\303\251\377|'; echo 'squeue: error: a warning' >&2")
    assert slurm("squeue", "--all").encode("utf-8", "surrogateescape") == b"\xc3\xa9\xff|"
    assert [call.command for call in fake.calls] == [["squeue", "--all"]]


def test_a_command_that_does_not_answer_is_ended_and_told_with_what_it_has_said(fake: FakeSlurm) -> None:
    fake.prepare_commands("squeue", "echo 'squeue: error: cannot stat file /x, retrying' >&2; exec sleep 600")
    with pytest.raises(SchedulerSilentError, match="cannot stat file /x") as caught:
        slurm("squeue", timeout_seconds=1)
    assert "SLURM_CONF" in str(caught.value.hint)


def test_where_slurm_is_missing_it_says_where_it_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SchedulerError, match="no sbatch here") as caught:
        slurm("sbatch")
    assert not isinstance(caught.value, SchedulerSilentError)
    assert "login node" in str(caught.value.hint)


def test_a_program_that_cannot_be_run_is_told(fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake.bin))
    (fake.bin / "sbatch").write_text("no program")
    with pytest.raises(SchedulerError, match="sbatch cannot be run"):
        slurm("sbatch")


# What Slurm's commands see of our environment


def test_nothing_of_a_job_that_we_may_be_part_of_is_handed_on() -> None:
    """A job that submits another one would else give it its own name, log, restarts and memory."""
    of_a_job = dict.fromkeys(
        ["SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_ARRAY_TASK_ID", "SLURM_MEM_PER_NODE", "SLURM_CPUS_PER_TASK"], "7"
    )
    assert environment(of_a_job) == {"SLURM_BITSTR_LEN": "0"}


@pytest.mark.parametrize(
    "name",
    [
        *("SBATCH_JOB_NAME", "SBATCH_ARRAY_INX", "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_OPEN_MODE", "SBATCH_SIGNAL"),
        *("SBATCH_REQUEUE", "SBATCH_NO_REQUEUE", "SBATCH_WAIT"),
        *("SQUEUE_FORMAT", "SQUEUE_STATES", "SACCT_FORMAT", "SLURM_TIME_FORMAT", "SCANCEL_INTERACTIVE"),
    ],
)
def test_what_would_overrule_our_scripts_and_questions_is_not_handed_on(name: str) -> None:
    assert name not in environment({name: "1"})


@pytest.mark.parametrize(
    "name",
    ["SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "PATH", "HOME", "DB_CREDS"],
)
def test_which_cluster_is_meant_and_what_is_the_users_to_choose_is_handed_on(name: str) -> None:
    assert environment({name: "1"})[name] == "1"


def test_lists_are_asked_for_whole_whatever_the_user_has_set() -> None:
    assert environment({"SLURM_BITSTR_LEN": "64"})["SLURM_BITSTR_LEN"] == "0"


# Tables


def test_a_table_is_read_by_the_names_of_its_columns_and_the_last_may_hold_a_bar() -> None:
    output = "JobID|State|Comment\n12|RUNNING|a|b\n13|PENDING|\n"
    assert list(table(output, ("id", "state", "comment"))) == [
        {"id": "12", "state": "RUNNING", "comment": "a|b"},
        {"id": "13", "state": "PENDING", "comment": ""},
    ]


def test_a_line_that_was_cut_is_no_row() -> None:
    assert list(table("JobID|State\n12|RUNNING\n13", ("id", "state"))) == [{"id": "12", "state": "RUNNING"}]


def test_a_table_may_be_empty_but_for_its_header() -> None:
    assert list(table("JobID|State\n", ("id", "state"))) == []


@pytest.mark.parametrize("output", ["", "\n", "slurm_load_jobs\n", "CLUSTER: lab\n"])
def test_without_a_header_there_was_no_answer(output: str) -> None:
    with pytest.raises(SchedulerSilentError):
        list(table(output, ("id", "state")))


def test_of_several_clusters_all_rows_are_read() -> None:
    output = "CLUSTER: a\nJobID|State\n12|RUNNING\n\nCLUSTER: b\nJobID|State\n13|PENDING\n"
    rows = {row["id"]: row["state"] for row in table(output, ("id", "state"))}
    assert rows["12"] == "RUNNING"
    assert rows["13"] == "PENDING"
