"""The checks of a machine that works, made where jobs do: in a job of their own, through Slurm."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from audioctl.configuration import dump_toml, freeze
from audioctl.doctor.findings import Finding, Report, Verdict, check
from audioctl.doctor.folders import clock_ahead_seconds, compare_clocks
from audioctl.doctor.image import verdict_of_test
from audioctl.errors import LedgerError, SchedulerError
from audioctl.executors.slurm_commands import SUBMISSION_TIMEOUT_SECONDS, slurm, table
from audioctl.executors.slurm_partitions import time_limit_seconds
from audioctl.executors.slurm_words import phase_of, why_waiting
from audioctl.jobs import JobPhase
from audioctl.permissions import make_folder, open_private
from audioctl.runs import CONFIG_FILE, log_path, new_run_id
from audioctl.settings import Settings
from audioctl.templates import DOCTOR, ScriptRequest, render_doctor

TIME_LIMIT_SECONDS = 600
"""Enough to load a large model from a busy disk; and a short job may find a place where a long one has to wait."""

_LOOK_SECONDS = 2.0
_LATE_FILE_SECONDS = 20.0
"""How much later than the end of the job a network file system may show what it has written."""

_SQUEUE = {"JOBID": "%i", "STATE": "%T", "NODELIST": "%N", "REASON": "%r"}


@dataclass(frozen=True, slots=True)
class _End:
    """Of a job: Slurm's word for it, where it has one."""

    word: str | None
    node: str


def examine_node(settings: Settings, say: Callable[[str], None]) -> Report:
    """What ``examine`` finds in a job of Slurm's with the resources of one that works on archives.

    ``say`` is told what the job waits for. Whatever ends this early cancels the job. Raises SchedulerError where Slurm
    refuses the job or it ends without a word, and LedgerError where ``paths.state_dir`` cannot be written.
    """
    frozen = freeze(settings, Path.cwd())
    state_dir = Path(frozen.paths.state_dir)
    folder = state_dir / DOCTOR / new_run_id()
    script = _write_job(folder, frozen)
    try:
        with _submitted(script, say) as number:
            end = _wait(number, say)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    report = _read_report(folder, number, end)  # its folder stays where it has none: the log tells why
    findings = [
        Finding(
            "node", Verdict.GOOD, f"Job {number} ran on {report.machine}, which shares {state_dir} with this machine."
        ),
        *_image(folder, frozen),
        *report.findings,
        *_clocks(state_dir, report),
    ]
    shutil.rmtree(folder, ignore_errors=True)
    return msgspec.structs.replace(report, findings=findings)


def _write_job(folder: Path, frozen: Settings) -> Path:
    archives = Path(frozen.paths.archives.partition("{")[0])
    request = ScriptRequest(
        folder=folder,
        run_id=folder.name,
        day=DOCTOR,
        archives=[("", archives / "archive.tar", "")],
        settings=frozen,
        max_concurrent=1,
    )
    wanted = time_limit_seconds(frozen.slurm.time) or TIME_LIMIT_SECONDS
    limit = frozen.slurm.time if wanted < TIME_LIMIT_SECONDS else f"00:{TIME_LIMIT_SECONDS // 60}:00"
    files = {CONFIG_FILE: dump_toml(frozen, frozen=True), "doctor.sbatch": render_doctor(request, limit)}
    try:
        make_folder(log_path(folder, DOCTOR).parent)
        for name, content in files.items():
            with open(folder / name, "w", encoding="utf-8", errors="surrogateescape", opener=open_private) as file:
                file.write(content)
    except OSError as error:
        raise LedgerError(f"{folder} cannot be written: {error.strerror}.", hint="Check paths.state_dir.") from error
    return folder / "doctor.sbatch"


@contextmanager
def _submitted(script: Path, say: Callable[[str], None]) -> Iterator[str]:
    """The number of the job, which is cancelled where the block does not come to its end."""
    printed = slurm("sbatch", "--parsable", f"{script}", timeout_seconds=SUBMISSION_TIMEOUT_SECONDS)
    number = printed.partition(";")[0].strip()
    try:
        yield number
    except BaseException:
        slurm("scancel", number)
        say(f"Job {number} is cancelled.")
        raise


def _wait(number: str, say: Callable[[str], None]) -> _End:
    """Until the job has ended."""
    told = ""
    while True:
        try:
            row = _ask_squeue(number)
        except SchedulerError as error:
            words = f"What job {number} does is not known now. {error.message}"
        else:
            phase = phase_of(row["STATE"]) if row else JobPhase.GONE
            if phase in (JobPhase.GONE, JobPhase.CANCELLED):
                return _End(row.get("STATE"), row.get("NODELIST", ""))
            words = f"Job {number} checks {row['NODELIST'] or 'its node'}."
            if phase is JobPhase.WAITING:
                reason = why_waiting(row["REASON"])
                words = f"Job {number} waits in the queue{f' ({reason})' if reason else ''}; Ctrl-C cancels it."
        if words != told:
            say(words)
            told = words
        time.sleep(_LOOK_SECONDS)


def _ask_squeue(number: str) -> Mapping[str, str]:
    """Its row, an empty one where squeue has forgotten it. Raises SchedulerError."""
    columns = "|".join(_SQUEUE.values())
    try:
        printed = slurm("squeue", "--states=all", f"--jobs={number}", f"--format={columns}")
    except SchedulerError as error:
        if "Invalid job id" in error.message:
            return {}
        raise
    return next(table(printed, list(_SQUEUE)), {})


def _read_report(folder: Path, number: str, end: _End) -> Report:
    path = folder / "findings.json"
    give_up_at = time.monotonic() + _LATE_FILE_SECONDS
    while not path.exists() and time.monotonic() < give_up_at:
        time.sleep(_LOOK_SECONDS / 4)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        log = log_path(folder, f"slurm-{number}")
        raise SchedulerError(
            f"Job {number}{f' on {end.node}' if end.node else ''} ended{f' ({end.word})' if end.word else ''} without "
            f"having checked anything: {_last_line(log)}",
            hint=f"All that it said is in {log}."
            if log.exists()
            else f"It left no log: has its node {folder.parent.parent}? It must be a folder that all machines share.",
        ) from error


def _image(folder: Path, frozen: Settings) -> Iterator[Finding]:
    """What the script found of the image, from outside of it."""
    if frozen.container.image:
        code = int((folder / "image-test").read_text())
        output = log_path(folder, "image-test").read_text(errors="replace")
        yield check("image", lambda: verdict_of_test(frozen.container.image, code, output))


def _clocks(state_dir: Path, report: Report) -> Iterator[Finding]:
    """That of the node beside ours, both by the file server's."""
    here = clock_ahead_seconds(state_dir)
    if here is not None and report.clock_ahead_seconds is not None:
        ahead = report.clock_ahead_seconds - here
        yield check("clocks", lambda: compare_clocks(ahead, report.machine, "this machine"))


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].strip() if lines else "it said nothing."
