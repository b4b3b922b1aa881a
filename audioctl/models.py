"""Where a recogniser's files are, told without any audio library, so that a login node can tell as well.

A model is ``bundled``, a folder, or a name. A named one was fetched before, to ``paths.models`` or to the cache of the
Hugging Face Hub. Nothing here, and nothing that jobs do, asks the internet.
"""

from __future__ import annotations

import os
from pathlib import Path

from audioctl.data import small_model_path
from audioctl.errors import ModelError
from audioctl.settings import Settings

BUNDLED = "bundled"

HUB_REPOSITORIES = {
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "tiny": "Systran/faster-whisper-tiny",
    "base.en": "Systran/faster-whisper-base.en",
    "base": "Systran/faster-whisper-base",
    "small.en": "Systran/faster-whisper-small.en",
    "small": "Systran/faster-whisper-small",
    "medium.en": "Systran/faster-whisper-medium.en",
    "medium": "Systran/faster-whisper-medium",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large": "Systran/faster-whisper-large-v3",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
"""The short names, as faster-whisper 1.2 has them."""

_NEEDED_FILES = ("model.bin", "tokenizer.json")
"""Without its own tokenizer.json faster-whisper would ask the internet for one."""


def find_model(model: str, models: str = "") -> Path:
    """The folder of ``model``; ``models`` is ``paths.models``, which may be empty.

    Raises ModelError, with what to type, where there is none, or where files are missing.
    """
    if model == BUNDLED:
        return small_model_path()
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if _is_path(model):
            raise ModelError(
                f"There is no folder {folder}.",
                hint="Give transcribe.model the folder of a CTranslate2 model, or a name such as large-v3-turbo.",
            )
        folder = _find_fetched(model, models)
    for name in _NEEDED_FILES:
        if not (folder / name).is_file():
            raise ModelError(
                f"There is no whole model in {folder}: it holds no {name}.",
                hint="Fetch it again, or make the folder with `ct2-transformers-converter --copy_files tokenizer.json "
                "preprocessor_config.json`.",
            )
    return folder


def check_model_is_there(settings: Settings) -> None:
    """For a login node, before anything is submitted: raises ModelError where jobs would not find their model.

    Says nothing where it cannot be sure: a container may have a model of its own, or another cache.
    """
    model, models = settings.transcribe.model, settings.paths.models
    may_be_in_image = bool(settings.container.image) and (_is_path(model) or not models)
    try:
        find_model(model, models)
    except ModelError:
        if not may_be_in_image:
            raise


def folder_name(model: str) -> str:
    """What the folder of a named model is called below ``paths.models``: ``OWNER--MODEL`` for ``OWNER/MODEL``.

    The Hub has no names with ``--``, so a folder stands for one name.
    """
    return model.replace("/", "--")


def repository_of(model: str) -> str:
    """The Hub's name of a named model. Raises ModelError for a name that nobody knows."""
    if "/" in model:
        return model
    try:
        return HUB_REPOSITORIES[model]
    except KeyError:
        raise ModelError(
            f"There is no folder and no model named {model}.",
            hint=f"Known names: {', '.join([BUNDLED, *HUB_REPOSITORIES])}; or OWNER/MODEL of the Hugging Face Hub.",
        ) from None


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it fetches, by the variables that it reads."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{caches}/huggingface")
    older = os.environ.get("HUGGINGFACE_HUB_CACHE", f"{home}/hub")
    return Path(os.path.expandvars(os.environ.get("HF_HUB_CACHE", older))).expanduser()


def _is_path(model: str) -> bool:
    """Whether it can be no name."""
    return model.startswith(("/", "./", "../", "~"))


def _find_fetched(model: str, models: str) -> Path:
    repository = repository_of(model)
    if models and (folder := Path(models, folder_name(model))).is_dir():
        return folder
    if (snapshot := _newest_snapshot(hub_cache() / f"models--{folder_name(repository)}")) is not None:
        return snapshot
    raise ModelError(
        f"The model {model} is not on this machine: it is no folder here, and not among the fetched models.",
        hint=f"Run `audioctl model fetch {model}` where there is internet"
        + (f"; it goes to {models}" if models else ", after setting paths.models to a folder that all nodes share")
        + ". The model `bundled` needs nothing and tests everything else.",
    )


def _newest_snapshot(repository: Path) -> Path | None:
    """What huggingface_hub last fetched of the main branch: ``refs/main`` names the folder below ``snapshots``."""
    try:
        snapshot = repository / "snapshots" / (repository / "refs" / "main").read_text(encoding="utf-8")
    except OSError:
        return None
    return snapshot if snapshot.is_dir() else None
