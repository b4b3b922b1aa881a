"""Bringing a model from the Hugging Face Hub, once, where there is internet."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from faster_whisper import download_model
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from audioctl.errors import ModelError
from audioctl.models import find_model, repository_of


def fetch_model(name: str, folder: Path | None) -> Path:
    """The folder that holds the model afterwards: ``folder``, or the Hub's cache. Goes on where it was broken off.

    Raises ModelError when there is no such model, no internet, or no room.
    """
    repository = repository_of(name)
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise ModelError("HF_HUB_OFFLINE is set, so nothing can be fetched.", hint="Unset it on this machine.")
    try:
        with warnings.catch_warnings():
            # faster-whisper still gives the Hub's library an argument that it ignores.
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
            fetched = Path(download_model(repository, output_dir=str(folder.absolute()) if folder else None))
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelError(
            f"The model {name} cannot be fetched: {_first_line(error)}",
            hint="Check its name: one that faster-whisper knows, or OWNER/MODEL of the Hugging Face Hub.",
        ) from error
    except OSError as error:  # the Hub's "cannot reach it and have no copy" is one, too
        raise ModelError(
            f"The model {name} cannot be fetched: {_first_line(error)}",
            hint="This machine needs internet, and room in HF_HOME or in the folder. Run it again to go on.",
        ) from error
    return find_model(str(fetched))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
