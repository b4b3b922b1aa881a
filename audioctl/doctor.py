"""Checking everything a job needs, before a job needs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

from audioctl.configuration import is_remote
from audioctl.errors import AudioctlError
from audioctl.findings import Finding, Verdict, check
from audioctl.settings import Settings

if TYPE_CHECKING:
    from audioctl.engines.base import Engine

WORKER_MODULES = ("av", "ctranslate2", "faster_whisper", "numpy", "soundfile", "zstandard")
"""What the ``worker`` extra brings."""

LITTLE_SCRATCH_BYTES = 10 * 1000**3
"""A day's archive keeps far less there; a server that is away for an hour may not."""


def examine(settings: Settings) -> Iterator[Finding]:
    """One finding a check, the quick ones first."""
    yield check("state", lambda: _writable(Path(settings.paths.state_dir)))
    yield check("scratch", lambda: _scratch(settings))
    yield check("archives", lambda: _archives(settings))
    yield check("destination", lambda: _destination(settings))
    if settings.database.enabled:
        yield check("database", lambda: _database(settings))
    if settings.container.image and not _inside_image():
        yield check("image", lambda: _image(settings.container.image))
    if settings.submit.executor == "slurm" and not _on_a_node():
        yield from _before_submitting(settings)
    else:
        yield from _before_working(settings)


def missing_worker_modules() -> list[str]:
    return [name for name in WORKER_MODULES if find_spec(name) is None]


def _on_a_node() -> bool:
    """Whether this is run inside a job, or in its image, rather than where jobs are submitted."""
    return _inside_image() or "SLURM_JOB_ID" in os.environ


def _inside_image() -> bool:
    return any(os.environ.get(f"{runtime}_CONTAINER") for runtime in ("APPTAINER", "SINGULARITY"))


def _before_submitting(settings: Settings) -> Iterator[Finding]:
    """The recogniser itself is not tried: a login node has no GPU, and no patience with large programs."""
    from audioctl.cluster_checks import examine_cluster

    yield from examine_cluster(settings)
    missing = missing_worker_modules()
    if missing and not settings.container.image:
        yield Finding(
            "worker",
            Verdict.BAD,
            f"Jobs run this Python, and it cannot work on audio: {', '.join(missing)} missing.",
            "pip install 'audioctl[worker]' ('audioctl[gpu]' for GPUs), or set container.image.",
        )
    yield check("model", lambda: _model_is_there(settings))


def _before_working(settings: Settings) -> Iterator[Finding]:
    missing = missing_worker_modules()
    if missing:
        yield Finding(
            "worker",
            Verdict.LOOK,
            f"Cannot work on audio here: {', '.join(missing)} missing.",
            "A login node needs none of it. On machines that run jobs: pip install 'audioctl[worker]'.",
        )
        return
    yield check("opus", _opus)
    yield check("model", lambda: _model(settings))


def _writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise AudioctlError(
            f"{folder} cannot be written: {error.strerror}.", hint="Choose another folder with paths.state_dir."
        ) from error
    return f"{folder} can be written."


def _scratch(settings: Settings) -> Finding | str:
    from audioctl.pipeline.scratch import scratch_folder, scratch_root

    root = scratch_root(settings.paths.scratch, os.environ)
    with scratch_folder(root):
        free = shutil.disk_usage(root).free
    message = f"{root} can be written and has {free / 1e9:,.0f} GB free."
    if free < LITTLE_SCRATCH_BYTES:
        return Finding("scratch", Verdict.LOOK, message, "Opus files wait there while the storage server is away.")
    return message


def _archives(settings: Settings) -> Finding | str:
    folder = Path(settings.paths.archives.partition("{")[0])
    folder = folder if folder.is_dir() or settings.paths.archives.partition("{")[0].endswith("/") else folder.parent
    if not os.access(folder, os.R_OK | os.X_OK):
        return Finding("archives", Verdict.LOOK, f"{folder} cannot be read.", "Set paths.archives, or use process-tar.")
    return f"{folder} can be read."


def _destination(settings: Settings) -> str:
    from audioctl.storage.check import check_destination
    from audioctl.storage.destination import parse_destination
    from audioctl.storage.ssh import all_ssh_options

    upload = settings.upload
    destination = parse_destination(upload.destination)
    check_destination(
        destination, ssh_key=Path(upload.ssh_key) if upload.ssh_key else None, ssh_options=all_ssh_options(upload)
    )
    return f"{destination} takes files."


def _database(settings: Settings) -> Finding | str:
    from audioctl.database.connection import connect
    from audioctl.database.schema import check as check_tables

    with connect(service=settings.database.service, application_name="audioctl/doctor") as connection:
        differences = check_tables(connection)
    if differences:
        return Finding("database", Verdict.BAD, "; ".join(differences), "`audioctl db upgrade` mends the tables.")
    return "PostgreSQL answers, and its tables are as needed."


def _image(image: str) -> Finding | str:
    if is_remote(image):
        return Finding(
            "image",
            Verdict.LOOK,
            f"{image} is fetched by the nodes, where they can.",
            "`apptainer pull /shared/audioctl.sif URL` once, and that file as container.image, is quicker.",
        )
    if not os.access(image, os.R_OK):
        raise AudioctlError(
            f"The image {image} is not there, or cannot be read.",
            hint="Correct container.image, or build one: containers/build.sh, or `apptainer pull`.",
        )
    return f"{image} can be read."


def _opus() -> Finding | str:
    import av

    with suppress(ValueError):
        av.CodecContext.create("libopus", "w")
        return "Opus can be written."
    return Finding("opus", Verdict.BAD, "PyAV here has no libopus.", "Install PyAV from its wheel: pip install av.")


def _model_is_there(settings: Settings) -> str:
    from audioctl.models import find_model

    folder = find_model(settings.transcribe.model, settings.paths.models)
    return f"{settings.transcribe.model} is in {folder}. `audioctl doctor` on a node loads it."


def _model(settings: Settings) -> Finding | str:
    """Loads the model and lets it hear a sentence that is known."""
    from audioctl.demo import demo_clips
    from audioctl.engines.loading import BUNDLED, load_engine

    engine = load_engine(settings.transcribe, settings.paths.models)
    clip = next(clip for clip in demo_clips() if clip.language == "en")
    heard = _hear(clip.read(), clip.file, engine)
    name = settings.transcribe.model
    if name != BUNDLED:
        return f"{name} loads and runs; it heard {heard!r} where {clip.text!r} was said."
    if heard != clip.text:
        return Finding("model", Verdict.BAD, f"The bundled model heard {heard!r} where {clip.text!r} was said.")
    return f"The bundled model heard {heard!r}, as it was said. It knows 72 words: choose transcribe.model."


def _hear(content: bytes, name: str, engine: Engine) -> str:
    import hashlib

    from audioctl.audio.speech import SpeechFinder
    from audioctl.clips import ConvertedBatch, Member
    from audioctl.pipeline.clip_tasks import ClipTask, convert_clip
    from audioctl.pipeline.transcribe import transcribe

    member = Member(0, name, "heard.opus", len(content), hashlib.sha256(content).hexdigest(), content)
    with TemporaryDirectory(prefix="audioctl-doctor-") as folder:
        clip = convert_clip(ClipTask(member, Path(folder, "heard.opus"), 32000, SpeechFinder))
    [record] = transcribe(ConvertedBatch(0, [clip]), engine, 1)
    return record.text or ""
