"""The machine itself: Python and its packages, the GPU, and the limits that the shell or the job sets."""

from __future__ import annotations

import csv
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from audioctl import __version__
from audioctl.doctor.findings import Finding, Verdict
from audioctl.environment import without_secrets
from audioctl.errors import ConfigurationError
from audioctl.settings import Settings

_GPU_COLUMNS = ("name", "driver_version", "memory.total", "memory.free")
"""Of ``nvidia-smi --query-gpu``; the memory in MiB."""

_NVIDIA_SMI_SECONDS = 30
"""It takes some seconds where no process keeps the driver awake."""

OLDEST_DRIVER = (525, 60, 13)
"""For CUDA 12, which CTranslate2 4 is made for: table 2 of NVIDIA's CUDA Compatibility, minor version compatibility."""

_OTHER_FILES = 64
_FILES_OF_A_CONVERTER = 6
_FILES_OF_AN_UPLOAD = 8
_OTHER_PROCESSES = 64
_PROCESSES_OF_A_WORKER = 4


def python() -> str:
    return f"Python {platform.python_version()} ({sys.executable}) with audioctl {__version__}."


def unmet_requirements(extra: str = "") -> list[str]:
    """What audioctl's own packaging asks for and this Python has not: ``av is missing``, ``av 13.1 (>=14 is needed)``.

    ``extra`` is asked for besides what every installation needs.
    """
    return [fault for requirement in _requirements(extra) if (fault := _fault(requirement))]


def packages(extra: str) -> str:
    """The versions that are here of what ``extra`` asks for."""
    base = {requirement.name for requirement in _requirements("")}
    names = (requirement.name for requirement in _requirements(extra) if requirement.name not in base)
    return f"{', '.join(f'{name} {version(name)}' for name in names)}."


def gpu(device: str) -> Finding | str:
    """The GPU, its driver, and whether CTranslate2 can use it. ``device`` is ``transcribe.device``."""
    import ctranslate2

    if device == "cpu":
        return 'No GPU is needed: transcribe.device is "cpu".'
    said = _ask_nvidia_smi()
    described = "; ".join(map(_describe, said)) or "nvidia-smi tells of no GPU"
    usable = ctranslate2.get_cuda_device_count()
    if usable:
        types = ", ".join(sorted(ctranslate2.get_supported_compute_types("cuda")))
        return f"{described}. CTranslate2 {ctranslate2.__version__} can use {usable} of them, with {types}."
    old = [row for row in said if _driver_version(row["driver_version"]) < OLDEST_DRIVER]
    if old:
        hint = f"CUDA 12 needs a driver from {'.'.join(map(str, OLDEST_DRIVER))} on: tell the node's administrators."
    elif said:
        hint = "Is this an image that was entered without --nv, or CUDA_VISIBLE_DEVICES set to nothing?"
    else:
        hint = 'On a cluster ask for one with slurm.gpus or slurm.gres; transcribe.device = "cpu" needs none.'
    verdict = Verdict.BAD if device == "cuda" else Verdict.LOOK
    slow = "" if device == "cuda" else ", so the recogniser will take the CPU, which is many times slower"
    return Finding("gpu", verdict, f"{described}. CTranslate2 can use no GPU{slow}.", hint)


def limits(settings: Settings, files: int, processes: int, address_space: int) -> Finding | str:
    """What the shell or the scheduler allows: the soft limits, ``resource.RLIM_INFINITY`` for none."""
    workers = min(settings.convert.num_workers, len(os.sched_getaffinity(0)))
    uploads = settings.upload.max_concurrent_uploads
    needed_files = _OTHER_FILES + workers * _FILES_OF_A_CONVERTER + uploads * _FILES_OF_AN_UPLOAD
    needed_processes = _OTHER_PROCESSES + (workers + uploads) * _PROCESSES_OF_A_WORKER
    faults = []
    if _is_less(files, needed_files):
        faults.append((f"{files:,} open files, and about {needed_files:,} are needed", f"ulimit -n {needed_files}"))
    if _is_less(processes, needed_processes):
        faults.append(
            (f"{processes:,} processes, about {needed_processes:,} are needed", f"ulimit -u {needed_processes}")
        )
    if address_space != resource.RLIM_INFINITY:
        words = f"{address_space / 1e9:,.1f} GB of address space, of which models and CUDA reserve more than they use"
        faults.append((words, "ulimit -v unlimited"))
    if faults:
        return Finding(
            "limits",
            Verdict.LOOK,
            f"There are limits here: {'; '.join(fault for fault, _ in faults)}.",
            f"Type {' and '.join(f'`{command}`' for _, command in faults)} before submitting: Slurm hands the shell's "
            "limits on to jobs, unless the site has turned that off.",
        )
    return (
        f"{len(os.sched_getaffinity(0))} CPU cores, {_number(files)} open files (ulimit -n), {_number(processes)} "
        "processes (-u), as much address space as wanted (-v)."
    )


def limits_of_this_process() -> tuple[int, int, int]:
    """Open files, processes of the user, bytes of address space."""
    kinds = (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_AS)
    files, processes, address_space = (resource.getrlimit(kind)[0] for kind in kinds)
    return files, processes, address_space


def _requirements(extra: str) -> Iterator[Requirement]:
    try:
        lines = requires("audioctl") or ()
    except PackageNotFoundError:
        raise ConfigurationError(
            f"{sys.executable} finds audioctl's source, but it is not installed there: what it needs is not known.",
            hint="Type `pip install .` in its folder, or `make demo`.",
        ) from None
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": name}) for name in ("", extra)):
            yield requirement


def _fault(requirement: Requirement) -> str | None:
    try:
        here = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(here, prereleases=True):
        return None
    return f"{requirement.name} {here} ({requirement.specifier} is needed)"


def _ask_nvidia_smi() -> list[dict[str, str]]:
    """A row for each GPU; none where there is no nvidia-smi, or no driver behind it."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", f"--query-gpu={','.join(_GPU_COLUMNS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            query,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_NVIDIA_SMI_SECONDS,
            env=without_secrets(os.environ),
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return list(_rows(done.stdout.splitlines())) if done.returncode == 0 else []


def _rows(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    for cells in csv.reader(lines, skipinitialspace=True):
        if len(cells) == len(_GPU_COLUMNS):
            yield dict(zip(_GPU_COLUMNS, cells, strict=True))


def _describe(row: dict[str, str]) -> str:
    free, total = row["memory.free"], row["memory.total"]
    return f"{row['name']} with {free} of {total} MiB free, driver {row['driver_version']}"


def _driver_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _is_less(limit: int, needed: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < needed


def _number(limit: int) -> str:
    return "any number of" if limit == resource.RLIM_INFINITY else f"{limit:,}"
