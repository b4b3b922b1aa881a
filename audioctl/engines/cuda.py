"""Finding cuBLAS where pip has put it: CTranslate2 asks the loader for it by name, and the loader does not look there.

CTranslate2 (4.x) is made for CUDA 12, and asks only when it first computes. PyTorch's wheels are of no help: they bring
cuBLAS for the CUDA that PyTorch is made for, 13 from PyTorch 2.11 on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from audioctl.errors import ModelError

CUBLAS = "libcublas.so.12"

_NEEDED = ("nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvidia/cublas/lib/libcublasLt.so.12")
"""What cuBLAS asks for by name itself, below site-packages; with older wheels there is no NVRTC, and no need of it."""


def load_cublas(search_path: Sequence[str]) -> None:
    """Load cuBLAS into this process for whoever asks for it by name, unless the loader finds it anyway.

    ``search_path`` is ``sys.path``. Raises ModelError where it is nowhere, or does not load.
    """
    try:
        ctypes.CDLL(CUBLAS)
    except OSError as error:
        wanted = Path("nvidia/cublas/lib", CUBLAS)
        site_packages = next((Path(entry) for entry in search_path if Path(entry, wanted).is_file()), None)
        if site_packages is None:
            raise _missing(error) from error
        for library in (*_NEEDED, wanted):
            if (site_packages / library).exists():
                _load(site_packages / library)


def _load(library: Path) -> None:
    try:
        # A library that is loaded is found by its name. RTLD_GLOBAL, which is not needed for that, would offer its
        # functions to PyTorch too, which has to get those of its own cuBLAS.
        ctypes.CDLL(str(library))
    except OSError as error:
        raise ModelError(
            f"{library} cannot be loaded: {error}.",
            hint="Install it again: pip install --force-reinstall nvidia-cublas-cu12.",
        ) from error


def _missing(error: OSError) -> ModelError:
    return ModelError(
        f"The recogniser needs cuBLAS of CUDA 12 to use the GPU, and it cannot be loaded: {error}.",
        hint="pip install 'audioctl[gpu]' brings it, and so does a CUDA 12 of the system (`module load cuda/12`); "
        'transcribe.device = "cpu" needs none.',
    )
