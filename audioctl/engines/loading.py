"""Loading a recogniser by name: a faster-whisper model, a folder, or ``bundled``, the small one shipped for tests."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from audioctl.data import small_model_path
from audioctl.engines.whisper import WhisperEngine, WhisperOptions
from audioctl.errors import ModelError
from audioctl.settings import Transcribe

BUNDLED = "bundled"
FULL_WINDOW_FRAMES = 3000
SHORTEST_TRAINED_FRAMES = 200
"""The bundled model was trained on windows from 2 s up."""

SHORTEST_CAUTIOUS_FRAMES = 1000
"""For models trained on 30 s only: reports of lost words begin below about 10 s."""


class ModelTraits(msgspec.Struct, frozen=True):
    """``audioctl.json`` beside a model: what its makers know of it and faster-whisper does not ask."""

    short_windows: bool = False


def load_engine(settings: Transcribe) -> WhisperEngine:
    """Load the model that ``settings`` names; never from the internet when HF_HUB_OFFLINE is set.

    Raises ModelError with what to do when it is not there or does not load.
    """
    from faster_whisper import WhisperModel

    name = str(small_model_path()) if settings.model == BUNDLED else str(Path(settings.model).expanduser())
    looks_like_path = settings.model.startswith(("/", "./", "../", "~"))
    if looks_like_path and not Path(name, "model.bin").is_file():
        raise ModelError(
            f"There is no model in {name}: it holds no model.bin.",
            hint="Give --model the folder of a CTranslate2 model, or a name such as large-v3-turbo.",
        )
    try:
        whisper = WhisperModel(
            name,
            device=settings.device,
            compute_type=settings.compute_type,
            cpu_threads=len(os.sched_getaffinity(0)),
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise ModelError(
            f"The model {settings.model} cannot be loaded: {_first_line(error)}",
            hint="Compute nodes have no internet: give --model a folder, or load the model once where there is "
            "internet so that it is in the cache (HF_HOME). `--model bundled` tests everything else.",
        ) from error
    options = WhisperOptions(
        window_batch_size=settings.window_batch_size,
        beam_size=settings.beam_size,
        language=settings.language or None,
        languages=tuple(settings.languages),
        shortest_frames=_shortest_frames(settings.window, Path(name)),
    )
    _check_languages(whisper.supported_languages, options, settings.model)
    return WhisperEngine(whisper, settings.model, options)


def _shortest_frames(window: str, model_folder: Path) -> int:
    traits_file = model_folder / "audioctl.json"
    trained_short = (
        traits_file.is_file() and msgspec.json.decode(traits_file.read_bytes(), type=ModelTraits).short_windows
    )
    match window:
        case "full":
            return FULL_WINDOW_FRAMES
        case "longest":
            return SHORTEST_TRAINED_FRAMES if trained_short else SHORTEST_CAUTIOUS_FRAMES
        case _:
            return SHORTEST_TRAINED_FRAMES if trained_short else FULL_WINDOW_FRAMES


def _check_languages(supported: list[str], options: WhisperOptions, model: str) -> None:
    for code in (*options.languages, *([options.language] if options.language else [])):
        if code not in supported:
            raise ModelError(
                f"The model {model} does not know the language {code!r}.",
                hint=f"Use a code such as en or de; it knows {len(supported)} languages.",
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
