"""Every check, in the order in which they are told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from audioctl.doctor import folders, machine
from audioctl.doctor.findings import Finding, Verdict, check
from audioctl.mounts import read_mounts
from audioctl.settings import Settings

EXTRA = "worker"
"""Of audioctl's packaging: what a machine that runs jobs needs."""


def examine(settings: Settings, files: Sequence[Path]) -> Iterator[Finding]:
    """One finding a check, the quick ones first, as this is a machine that submits jobs or one that runs them.

    ``files`` are those that the settings were read from.
    """
    from audioctl.doctor.destination import examine_destination
    from audioctl.doctor.image import image, inside_image

    mounts, state_dir = read_mounts(), Path(settings.paths.state_dir)
    yield check("python", _python)
    yield check("settings", lambda: folders.settings_are_there(files, Path.cwd()))
    yield check("limits", lambda: machine.limits(settings, *machine.limits_of_this_process()))
    state = check("state", lambda: folders.state_is_writable(state_dir))
    yield state
    if state.verdict is Verdict.GOOD:
        yield check("filesystem", lambda: folders.state_file_system(state_dir, mounts))
        yield check("clock", lambda: folders.clock(state_dir))
    yield check("archives", lambda: folders.archives_are_there(settings.paths))
    yield from examine_destination(settings.upload)
    if settings.database.enabled:
        yield check("database", lambda: _database(settings))
    if settings.container.image and not inside_image():
        yield check("image", lambda: image(settings.container))
    if submits_jobs(settings):
        yield from _before_submitting(settings)
    else:
        yield check("scratch", lambda: folders.scratch(settings.paths.scratch, mounts))
        yield from _before_working(settings)


def submits_jobs(settings: Settings) -> bool:
    """Whether jobs are submitted from here to other machines, rather than run here."""
    from audioctl.doctor.image import inside_image

    in_a_job = inside_image() or "SLURM_JOB_ID" in os.environ
    return settings.submit.executor == "slurm" and not in_a_job


def _before_submitting(settings: Settings) -> Iterator[Finding]:
    """The recogniser itself is not tried: a login node has no GPU, and no patience with large programs."""
    from audioctl.doctor.cluster import examine_cluster
    from audioctl.doctor.recogniser import model_is_there

    yield from examine_cluster(settings)
    if not settings.container.image:
        yield check("worker", lambda: _worker("Jobs run this Python, and it cannot work on audio", Verdict.BAD))
    yield check("model", lambda: model_is_there(settings))


def _before_working(settings: Settings) -> Iterator[Finding]:
    from audioctl.doctor.recogniser import model_hears, opus

    worker = check("worker", lambda: _worker("Cannot work on audio here", Verdict.LOOK))
    yield worker
    if worker.verdict is Verdict.GOOD:
        yield check("opus", opus)
        yield check("gpu", lambda: machine.gpu(settings.transcribe.device))
        yield check("model", lambda: model_hears(settings))


def _python() -> Finding | str:
    faults = machine.unmet_requirements()
    if not faults:
        return machine.python()
    return Finding(
        "python",
        Verdict.BAD,
        f"{machine.python()} {'; '.join(faults)}.",
        "Type `pip install audioctl`, which brings what is missing.",
    )


def _worker(problem: str, verdict: Verdict) -> Finding | str:
    """``verdict`` is what it means that something is missing."""
    faults = machine.unmet_requirements(EXTRA)
    if not faults:
        return machine.packages(EXTRA)
    return Finding(
        "worker",
        verdict,
        f"{problem}: {'; '.join(faults)}.",
        "On machines that run jobs: pip install 'audioctl[worker]' ('audioctl[gpu]' for GPUs), or set "
        "container.image. A login node itself needs none of it.",
    )


def _database(settings: Settings) -> Finding | str:
    from audioctl.database.comparison import compare
    from audioctl.database.connection import connect

    with connect(service=settings.database.service, application_name="audioctl/doctor") as connection:
        differences = compare(connection)
    if differences:
        return Finding("database", Verdict.BAD, "; ".join(differences), "`audioctl db upgrade` mends what is missing.")
    return "PostgreSQL answers, and its tables are as needed."
