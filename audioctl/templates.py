"""The scripts that jobs run, rendered from the Jinja templates in hpc_templates/."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from audioctl.configuration import is_remote
from audioctl.errors import ConfigurationError
from audioctl.runs import CONFIG_FILE, log_path
from audioctl.settings import Container, Settings

JOB_TEMPLATE = "job.sh.j2"
ARRAY_TEMPLATE = "array.sbatch.j2"

_NEEDS_NO_QUOTES = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


@dataclass(frozen=True)
class ScriptRequest:
    """What a script is about. Every path in it is absolute, and the settings are frozen ones."""

    folder: Path
    """The run's folder, with its frozen settings and its logs."""
    run_id: str
    day: str
    archives: Sequence[tuple[str, Path]]
    """Slot and archive, in the order of the index."""
    settings: Settings
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


def templates_path() -> Path:
    """The templates that come with audioctl: inside the package, or beside it in a source checkout."""
    package = Path(__file__).parent
    installed = package / "hpc_templates"
    return installed if installed.is_dir() else package.parent / "hpc_templates"


def render_job(request: ScriptRequest) -> str:
    """A bash script that works on one archive: ``job.sh INDEX [JOB_ID]``, by default the id of its process.

    It hands TERM, INT and USR1 on to audioctl and ends with its exit code. What audioctl prints goes to the log of
    the slot. Raises ConfigurationError for a template of the user that cannot be rendered.
    """
    return _render(JOB_TEMPLATE, request, archives_per_job=1)


def render_array(request: ScriptRequest) -> str:
    """The same as a Slurm job array in which each task works on ``slurm.archives_per_job`` archives, one by one.

    Raises ConfigurationError for a setting that sbatch could not read.
    """
    return _render(
        ARRAY_TEMPLATE,
        request,
        archives_per_job=request.settings.slurm.archives_per_job,
        options=list(_sbatch_options(request)),
        modules=request.settings.slurm.modules,
    )


def job_name(run_id: str) -> str:
    """The name by which Slurm knows the jobs of a run."""
    return f"audioctl-{run_id}"


def array_size(request: ScriptRequest) -> int:
    """How many tasks the array has."""
    return -(-len(request.archives) // request.settings.slurm.archives_per_job)


def _sbatch_options(request: ScriptRequest) -> Iterator[str]:
    slurm = request.settings.slurm
    folder = str(request.folder).replace("%", "%%")
    options = {
        "job-name": job_name(request.run_id),
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(slurm.cpus_per_task),
        "gpus": slurm.gpus,
        "gres": slurm.gres,
        "mem": slurm.mem,
        "time": slurm.time,
        "array": f"0-{array_size(request) - 1}%{slurm.max_concurrent}",
        "signal": f"B:USR1@{slurm.drain_seconds}",
        "open-mode": "append",
        "output": str(log_path(Path(folder), "slurm-%A_%a")),
        "mail-user": slurm.mail_user,
        "mail-type": "END,FAIL" if slurm.mail_user else "",
    }
    yield from (f"--{name}={_sbatch_quote(value)}" for name, value in options.items() if value)
    yield "--requeue"
    yield from map(_one_line, slurm.extra)


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
    return ContainerCall(container.image, _runtimes(container), container.binds, folders)


def _runtimes(container: Container) -> list[str]:
    return ["apptainer", "singularity"] if container.runtime == "auto" else [container.runtime]


def _visible_folders(request: ScriptRequest) -> Iterator[str]:
    """Whatever a job reads or writes outside its image."""
    settings = request.settings
    yield settings.paths.state_dir
    yield from (str(archive.parent) for _, archive in request.archives)
    if not is_remote(settings.upload.destination):
        yield settings.upload.destination
    optional = (settings.paths.scratch, settings.upload.ssh_key, settings.transcribe.model)
    yield from (path for path in optional if path.startswith("/"))


def _render(name: str, request: ScriptRequest, **variables: object) -> str:
    overrides = request.settings.paths.templates
    try:
        return (
            _environment(overrides)
            .get_template(name)
            .render(
                day=request.day,
                slots=[slot for slot, _ in request.archives],
                archives=[str(archive) for _, archive in request.archives],
                logs=[str(log_path(request.folder, slot)) for slot, _ in request.archives],
                run_id=request.run_id,
                config=str(request.folder / CONFIG_FILE),
                python=request.python,
                container=_container_call(request),
                **variables,
            )
        )
    except jinja2.TemplateError as error:
        line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise ConfigurationError(
            f"The template {name} in {overrides} cannot be rendered: {line}{error}.",
            hint=f"Compare it with the one in {templates_path()}.",
        ) from error


def _environment(overrides: str) -> jinja2.Environment:
    """The user's folder goes first; from there, ``shipped/NAME`` is the template that comes with audioctl."""
    if overrides and not Path(overrides).is_dir():
        raise ConfigurationError(
            f"The template folder {overrides} does not exist.", hint="Correct or remove paths.templates."
        )
    shipped = jinja2.FileSystemLoader(templates_path())
    own = [jinja2.FileSystemLoader(overrides)] if overrides else []
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*own, jinja2.PrefixLoader({"shipped": shipped}), shipped]),
        undefined=jinja2.StrictUndefined,
        comment_start_string="{##",  # because {# is how bash begins the length of an array
        comment_end_string="##}",
        autoescape=False,  # shell, where `shquote` does what escaping does in HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shquote"] = shlex.quote
    return environment
