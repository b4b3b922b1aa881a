"""What turns clips into words: the encoder, the model, and one sentence that is heard."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from audioctl.doctor.findings import Finding, Verdict
from audioctl.models import BUNDLED, find_model
from audioctl.settings import Settings

if TYPE_CHECKING:
    from audioctl.engines.base import Engine


def opus() -> Finding | str:
    import av

    with suppress(ValueError):
        av.CodecContext.create("libopus", "w")
        return "Opus can be written."
    return Finding("opus", Verdict.BAD, "PyAV here has no libopus.", "Install PyAV from its wheel: pip install av.")


def model_is_there(settings: Settings) -> str:
    """Raises ModelError."""
    folder = find_model(settings.transcribe.model, settings.paths.models)
    return f"{settings.transcribe.model} is in {folder}. `audioctl doctor --on-node` loads it."


def model_hears(settings: Settings) -> Finding | str:
    """Loads the model and lets it hear a sentence that is known. Raises ModelError."""
    from audioctl.demo import demo_clips
    from audioctl.engines.loading import load_engine

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
    from audioctl.audio.speech import SpeechFinder
    from audioctl.clips import ConvertedBatch, Member
    from audioctl.pipeline.clip_tasks import ClipTask, convert_clip
    from audioctl.pipeline.transcribe import transcribe

    member = Member(0, name, "heard.opus", len(content), hashlib.sha256(content).hexdigest(), content)
    with TemporaryDirectory(prefix="audioctl-doctor-") as folder:
        clip = convert_clip(ClipTask(member, Path(folder, "heard.opus"), 32000, SpeechFinder))
    [record] = transcribe(ConvertedBatch(0, [clip]), engine)
    return record.text or ""
