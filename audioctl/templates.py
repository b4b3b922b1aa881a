"""The scripts that jobs run, rendered from the Jinja templates in hpc_templates/."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audioctl import __version__
from audioctl.configuration import is_remote
from audioctl.errors import ConfigurationError
from audioctl.executors.slurm import FINISH, job_name, part_and_task
from audioctl.runs import log_path
from audioctl.settings import Container, Settings, Slurm
from audioctl.template_files import environment_of, named_faults, sources, templates_path

DOCTOR = "doctor"
"""The part that checks a node."""

JOB_TEMPLATE = "job.sh.j2"
ARRAY_TEMPLATE = "array.sbatch.j2"
FINISH_TEMPLATE = "finish.sbatch.j2"
DOCTOR_TEMPLATE = "doctor.sbatch.j2"

PASSED_ON = (
    *("PG*", "DB_CREDS", "AUDIOCTL_*", "SLURM_*", "SLURMD_*", "CUDA_*", "NVIDIA_*", "HF_*", "OMP_NUM_THREADS"),
    *("SSH_AUTH_SOCK", "KRB5CCNAME", "TMPDIR", "LOCAL_SCRATCH", "TZ", "LC_*"),
)
"""Variables that a job inside an image sees, as patterns of bash."""

_VARIABLES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?", re.ASCII)
_NEEDS_NO_QUOTES = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


@dataclass(frozen=True)
class ScriptRequest:
    """What the scripts of a run are about. Every path in it is absolute, and the settings are frozen ones."""

    folder: Path
    """The run's folder, with its frozen settings and its logs."""
    run_id: str
    day: str
    archives: Sequence[tuple[str, Path, str]]
    """Slot, archive and job, as the executor planned it."""
    settings: Settings
    max_concurrent: int
    submission: int = 1
    """As in ``audioctl.runs.Run``."""
    python: str = sys.executable


@dataclass(frozen=True)
class ContainerCall:
    """How the job script enters the image."""

    image: str
    runtimes: list[str]
    """Programs to look for, in this order."""
    binds: tuple[str, ...]
    folders: list[str]
    """Folders to show inside the image under their own names, where the node has them."""
    environment: list[str]
    """Variables to show inside, as patterns of bash."""


def templates_used(settings: Settings) -> list[Path]:
    """The files that this user's scripts for Slurm are rendered from. Raises ConfigurationError."""
    environment = environment_of(settings.paths.templates)
    with named_faults():
        return sources(environment, ARRAY_TEMPLATE, FINISH_TEMPLATE)


def render_job(request: ScriptRequest) -> str:
    """A bash script that works on one archive: ``job.sh INDEX [JOB_ID]``, by default the id of its process.

    It hands TERM, INT and USR1 on to audioctl and ends with its exit code. What audioctl prints goes to the log of
    the slot. Raises ConfigurationError for a template of the user that cannot be rendered.
    """
    return _render(JOB_TEMPLATE, request, request.archives, options=[], modules=[])


def render_array(request: ScriptRequest, part: str) -> str:
    """A Slurm job array for one part of the run; each task works on ``slurm.archives_per_job`` archives, one by one.

    Raises ConfigurationError for a setting that sbatch could not read.
    """
    slurm = request.settings.slurm
    archives = [archive for archive in request.archives if part_and_task(archive[2])[0] == part]
    last_task = part_and_task(archives[-1][2])[1]
    options = {
        "comment": _comment(request, _which_archives([slot for slot, _, _ in archives])),
        **_resources(slurm),
        "time": slurm.time,
        "array": f"0-{last_task}%{request.max_concurrent}",
        "signal": f"B:USR1@{slurm.drain_seconds}",
    }
    return _render(
        ARRAY_TEMPLATE,
        request,
        archives,
        options=list(_sbatch_options(request, part, options, "slurm-%A_%a", slurm.extra)),
        modules=slurm.modules,
        archives_per_job=slurm.archives_per_job,
        # A site may have a use of its own for the comments of jobs.
        comments=not any(option.startswith("--comment") for option in slurm.extra),
    )


def render_finish(request: ScriptRequest) -> str:
    """The Slurm job that finishes the day: no GPU, and little of everything else."""
    slurm = request.settings.slurm
    options = {
        "comment": _comment(request, "finishes the day"),
        "cpus-per-task": str(slurm.finish_cpus_per_task),
        "mem": slurm.finish_mem,
        "time": slurm.finish_time,
        "signal": f"B:USR1@{slurm.drain_seconds}",
        "mail-user": slurm.mail_user,
        "mail-type": slurm.mail_type if slurm.mail_user else "",
    }
    return _render(
        FINISH_TEMPLATE,
        request,
        request.archives,
        options=list(_sbatch_options(request, FINISH, options, "finish-%j", slurm.finish_extra)),
        modules=slurm.modules,
    )


def render_doctor(request: ScriptRequest, time: str) -> str:
    """A Slurm job that gets all that a job of an array gets, but for its ``time``, and checks its node.

    It leaves in the folder what ``doctor --json`` printed, as findings.json, and the exit code of the image's own test,
    as image-test. Of the archives nothing but their folders counts, which are shown inside the image.
    """
    slurm = request.settings.slurm
    comment = f"audioctl doctor --on-node (run {request.run_id})"
    options = {"comment": comment, **_resources(slurm), "time": time}
    return _render(
        DOCTOR_TEMPLATE,
        request,
        [],
        options=list(_sbatch_options(request, DOCTOR, options, "slurm-%j", slurm.extra)),
        modules=slurm.modules,
    )


def _resources(slurm: Slurm) -> dict[str, str]:
    """What a job that works on archives gets."""
    return {"cpus-per-task": str(slurm.cpus_per_task), "gpus": slurm.gpus, "gres": slurm.gres, "mem": slurm.mem}


def _comment(request: ScriptRequest, what: str) -> str:
    """What `squeue --format=%k` shows of a job."""
    return f"audioctl {request.day}: {what} (run {request.run_id})"


def _which_archives(slots: Sequence[str]) -> str:
    return slots[0] if len(slots) == 1 else f"{len(slots)} archives, {slots[0]} to {slots[-1]}"


def _sbatch_options(
    request: ScriptRequest, part: str, own: Mapping[str, str], log: str, extra: Sequence[str]
) -> Iterator[str]:
    slurm = request.settings.slurm
    options = {
        "job-name": job_name(request.run_id, part),
        "partition": (slurm.finish_partition if part == FINISH else "") or slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint if part != FINISH else "",
        "reservation": slurm.reservation,
        "exclude": slurm.exclude,
        "nodes": "1",
        "ntasks": "1",
        **own,
        "chdir": str(request.folder),
        "output": _sbatch_log(request.folder, log),
        "open-mode": "append",
    }
    yield from (f"--{name}={_sbatch_quote(value)}" for name, value in options.items() if value)
    yield "--requeue"
    yield from map(_one_line, extra)


def _sbatch_log(folder: Path, log: str) -> str:
    if "\\" in str(folder):
        raise ConfigurationError(
            f"Slurm cannot name a log in {folder}: a backslash there turns off its %A and %a.",
            hint="Set paths.state_dir to a folder without one.",
        )
    return str(log_path(Path(str(folder).replace("%", "%%")), log))


def _sbatch_quote(text: str) -> str:
    # sbatch reads its lines in its own way: a backslash counts even inside single quotes, a # begins a comment.
    if _NEEDS_NO_QUOTES.fullmatch(_one_line(text)):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ConfigurationError(
            f"{text!r} cannot be an option of sbatch, because it has more than one line.",
            hint="Look at [slurm] and paths.state_dir with `audioctl config show --origin`.",
        )
    return text


def _container_call(request: ScriptRequest) -> ContainerCall | None:
    container = request.settings.container
    if not container.image:
        return None
    folders = sorted(set(_visible_folders(request)))
    for folder in folders:
        if set(folder) & set(":,"):
            raise ConfigurationError(
                f"{folder} cannot be shown inside a container, because its name has a colon or a comma.",
                hint="Rename the folder, or run without container.image.",
            )
    for name in container.environment:
        if not _VARIABLES.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} names no variables.", hint='container.environment holds names such as "MY_KEY" or "MY_*".'
            )
    environment = [*PASSED_ON, *container.environment]
    return ContainerCall(container.image, container_runtimes(container), container.binds, folders, environment)


def container_runtimes(container: Container) -> list[str]:
    return ["apptainer", "singularity"] if container.runtime == "auto" else [container.runtime]


def _visible_folders(request: ScriptRequest) -> Iterator[str]:
    """Whatever a job reads or writes outside its image."""
    settings = request.settings
    yield settings.paths.state_dir
    yield from (str(archive.parent) for _, archive, _ in request.archives)
    if not is_remote(settings.upload.destination):
        yield settings.upload.destination
    optional = (settings.paths.scratch, settings.paths.models, settings.upload.ssh_key, settings.transcribe.model)
    yield from (path for path in optional if path.startswith("/"))


def _render(name: str, request: ScriptRequest, archives: Sequence[tuple[str, Path, str]], **variables: object) -> str:
    container = _container_call(request)
    environment = environment_of(request.settings.paths.templates)
    with named_faults():
        return environment.get_template(name).render(
            made_by=_made_by(name, sources(environment, name)),
            day=request.day,
            slots=[slot for slot, _, _ in archives],
            archives=[str(archive) for _, archive, _ in archives],
            run_id=request.run_id,
            folder=str(request.folder),
            python=request.python,
            submission=request.submission,
            max_attempts=request.settings.slurm.max_attempts,
            container=container,
            **variables,
        )


def _made_by(name: str, files: Sequence[Path]) -> str:
    # As Python writes it, for a name with a newline must not end the comment.
    own = [repr(str(file)) for file in files if file.parent != templates_path()]
    template = " and ".join(own) or f"its template {name}"
    return f"Made by audioctl {__version__} from {template} at submission; to change it, see paths.templates."
