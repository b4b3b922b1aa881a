"""Loading a recogniser from the folder that ``audioctl.models`` finds, and telling what is wrong when it does not."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import msgspec
from faster_whisper import WhisperModel

from audioctl.engines.batch_size import choose_batch_size, read_shape
from audioctl.engines.batching import is_out_of_memory
from audioctl.engines.cuda import load_cublas
from audioctl.engines.whisper import WhisperEngine, WhisperOptions
from audioctl.errors import ModelError
from audioctl.models import BUNDLED, find_model
from audioctl.settings import Transcribe

__all__ = ["BUNDLED", "LoadedModel", "beams", "find_model", "load_engine", "load_model"]

BEAMS = {"careful": 5, "fast": 1}
"""By profile. 5 is the default of Whisper and faster-whisper."""

FULL_WINDOW_FRAMES = 3000
FRAMES_PER_SECOND = 100
SHORTEST_TRAINED_FRAMES = 200
"""The bundled model was trained on windows from 2 s up."""

SHORTEST_CAUTIOUS_FRAMES = 1000
"""For models trained on 30 s only: reports of lost words begin below about 10 s."""


class ModelTraits(msgspec.Struct, frozen=True):
    """``audioctl.json`` beside a model: what its makers know of it and faster-whisper does not ask."""

    short_windows: bool = False


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The weights, on their device. Engines made of it share them, and only one of these may work at a time.

    ``automatic_batch_size`` is what the memory that was free when it was loaded is enough for.
    """

    name: str
    whisper: WhisperModel
    traits: ModelTraits
    automatic_batch_size: int

    @property
    def device(self) -> str:
        return str(self.whisper.model.device)

    @property
    def compute_type(self) -> str:
        """What CTranslate2 made of the one that was asked for."""
        return str(self.whisper.model.compute_type)

    @property
    def compute_types(self) -> list[str]:
        """All that this device can compute with."""
        return sorted(ctranslate2.get_supported_compute_types(self.device))

    def options(self, settings: Transcribe) -> WhisperOptions:
        """How ``settings`` have it decode. Model, device and compute type are what was loaded, whatever they say."""
        return WhisperOptions(
            window_batch_size=settings.window_batch_size or self.automatic_batch_size,
            beam_size=beams(settings),
            language=settings.language or None,
            languages=tuple(settings.languages),
            shortest_frames=_shortest_frames(settings.window, self.traits),
        )

    def engine(self, settings: Transcribe) -> WhisperEngine:
        """Raises ModelError where the model does not know a language of ``settings``."""
        options = self.options(settings)
        _check_languages(self.whisper, options, self.name)
        return WhisperEngine(self.whisper, self.name, options)

    def unload(self) -> None:
        """Gives its memory back; nothing can be heard with it any more."""
        self.whisper.model.unload_model()


def load_engine(settings: Transcribe, models: str = "") -> WhisperEngine:
    """The recogniser that ``settings`` ask for. Raises as ``load_model`` and ``LoadedModel.engine`` do."""
    return load_model(settings, models).engine(settings)


def load_model(settings: Transcribe, models: str = "") -> LoadedModel:
    """Load the model that ``settings`` names, from this machine's disks; the internet is never asked.

    ``models`` is ``paths.models``, where a named model is looked for first. Raises ModelError with what to do when the
    model, or what a GPU needs, is not there or does not load.
    """
    folder = find_model(settings.model, models)
    device = _device(settings.device)
    if device == "cuda":
        load_cublas(sys.path)
    _check_compute_type(settings.compute_type, device)
    traits = _traits(folder)
    try:
        whisper = WhisperModel(
            str(folder),
            device=device,
            compute_type=settings.compute_type,
            cpu_threads=len(os.sched_getaffinity(0)),
        )
    except Exception as error:  # tokenizers raises nothing more special
        raise _not_loadable(settings.model, folder, error) from error
    _check_mel_bins(whisper, folder)
    shape = read_shape(folder / "model.bin")
    fitting = choose_batch_size(device, whisper.model.compute_type, shape, beams(settings))
    return LoadedModel(settings.model, whisper, traits, fitting)


def beams(settings: Transcribe) -> int:
    return settings.beam_size or BEAMS[settings.profile]


def _device(wanted: str) -> str:
    has_gpu = ctranslate2.get_cuda_device_count() > 0
    if wanted == "auto":
        return "cuda" if has_gpu else "cpu"
    if wanted == "cuda" and not has_gpu:
        raise ModelError(
            'transcribe.device is "cuda", and no GPU can be used here.',
            hint='`nvidia-smi` tells what is there. On a cluster ask for one with slurm.gpus or slurm.gres; "auto" '
            "takes the CPU where there is none.",
        )
    return wanted


def _check_compute_type(compute_type: str, device: str) -> None:
    supported = ctranslate2.get_supported_compute_types(device)
    if compute_type not in ("default", "auto") and compute_type not in supported:
        raise ModelError(
            f'transcribe.compute_type = "{compute_type}" is nothing that this {device} can compute with.',
            hint=f"Choose one of {', '.join(['default', 'auto', *sorted(supported)])}.",
        )


def _traits(folder: Path) -> ModelTraits:
    file = folder / "audioctl.json"
    if not file.is_file():
        return ModelTraits()
    try:
        return msgspec.json.decode(file.read_bytes(), type=ModelTraits)
    except msgspec.DecodeError as error:
        raise ModelError(f"{file} is damaged: {error}.", hint="Copy the model again, or remove that file.") from error


def _shortest_frames(window: str, traits: ModelTraits) -> int:
    match window:
        case "full":
            return FULL_WINDOW_FRAMES
        case "longest":
            return SHORTEST_TRAINED_FRAMES if traits.short_windows else SHORTEST_CAUTIOUS_FRAMES
        case "auto":
            return SHORTEST_TRAINED_FRAMES if traits.short_windows else FULL_WINDOW_FRAMES
    return int(window) * FRAMES_PER_SECOND


def _check_mel_bins(whisper: WhisperModel, folder: Path) -> None:
    wanted, computed = whisper.model.n_mels, whisper.feature_extractor.mel_filters.shape[0]
    if wanted != computed:
        raise ModelError(
            f"The model in {folder} takes {wanted} mel bins, and its preprocessor_config.json is missing or says "
            f"{computed}.",
            hint="Copy preprocessor_config.json from the original model into that folder.",
        )


def _check_languages(whisper: WhisperModel, options: WhisperOptions, model: str) -> None:
    # faster-whisper lists the languages of all models; the tokenizer knows those of this one.
    known = [code for code in whisper.supported_languages if code == "en" or _has_language(whisper, code)]
    for code in (*options.languages, *([options.language] if options.language else [])):
        if code not in known:
            raise ModelError(
                f"The model {model} does not know the language {code!r}.",
                hint=f"It knows {len(known)}: {' '.join(known)}.",
            )


def _has_language(whisper: WhisperModel, code: str) -> bool:
    return whisper.hf_tokenizer.token_to_id(f"<|{code}|>") is not None


def _not_loadable(model: str, folder: Path, error: Exception) -> ModelError:
    if is_out_of_memory(error):
        hint = 'Use a smaller model, transcribe.compute_type = "int8_float16", or a larger GPU.'
    else:
        hint = f"Something in {folder} is damaged, or not made for this version of CTranslate2: fetch the model again."
    return ModelError(f"The model {model} cannot be loaded: {_first_line(error)}", hint=hint)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
