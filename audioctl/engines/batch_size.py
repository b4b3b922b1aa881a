"""How many windows go through a Whisper model at once where the settings leave it open.

An estimate to begin with: when memory runs out all the same, the batcher halves it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audioctl.engines.decoding import BEST_OF, MAX_TOKENS

ON_CPU = 8
"""More gained nothing where it was measured (2 cores, docs/performance.md), and costs memory."""

ON_UNKNOWN_GPU = 32
"""Where nobody can say how much memory is free, or what a window of the model needs."""

LEAST_ON_GPU, MOST_ON_GPU = 8, 64
"""The estimate is of windows full of text, which most are not: so 8 are tried even where fewer would fit. With more
than 64 the clips that come together (``transcribe.process_batch_size``) would be one batch, during which nothing can be
prepared; and no figures say that a GPU gains by more."""

_SHARE_OF_FREE_MEMORY = 0.8
"""The rest is for what falls between blocks, and for the libraries' own buffers."""

_FRAMES = 3000
_FFT_BINS = 201
_HEAD_WIDTH = 64
"""Of all of OpenAI's models (Radford et al. 2022, table 1)."""

_BINARY_VERSION = 6
"""Of ``model.bin``, as CTranslate2 4 writes it."""

_DECODER_LAYER = re.compile(r"decoder/layer_(\d+)/")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the memory for a window depends on; ``width`` is d_model."""

    width: int
    decoder_layers: int
    mel_bins: int


def choose_batch_size(device: str, compute_type: str, shape: ModelShape | None, beam_size: int) -> int:
    """For a model that is loaded already. ``compute_type`` is what CTranslate2 made of the one that was asked for."""
    if device == "cpu":
        return ON_CPU
    free = free_gpu_bytes()
    if free is None or shape is None:
        return ON_UNKNOWN_GPU
    fitting = int(free * _SHARE_OF_FREE_MEMORY) // bytes_per_window(shape, beam_size, _value_bytes(compute_type))
    return min(max(fitting, LEAST_ON_GPU), MOST_ON_GPU)


def bytes_per_window(shape: ModelShape, beam_size: int, value_bytes: int) -> int:
    """What a window of 30 s that is full of text needs at most, beside the weights.

    From how CTranslate2 4.8 computes (src/layers/attention.cc, transformer.cc), with n = 1500 positions of width d,
    heads of 64, L decoder layers, and beams of T tokens:

    - encoder: scores and their softmax of one layer, 2 x heads x n x n; its other activations (input, queries, keys,
      values, the inner layer of 4 d and copies of it), 10 x n x d;
    - decoder: keys and values of the encoder's output, once for all beams, 2 x L x n x d; those of the text, for
      each beam, with a copy of one layer while beams are reordered, 2 x (L + 1) x beams x T x d.

    The larger of the two, as the one begins when the other is done; the encoder's output; and what PyTorch needs for
    the features. faster-whisper's README (1.2.1) measures 282 MB for one more window of "small" in float32 on a CPU,
    and 224 MB of large-v2 in float16 on a GPU; by this they are 280 MB and 452 MB.
    """
    positions = _FRAMES // 2
    heads = shape.width // _HEAD_WIDTH
    beams = max(beam_size, BEST_OF)
    encoder = 2 * heads * positions**2 + 10 * positions * shape.width
    text_cache = 2 * (shape.decoder_layers + 1) * beams * MAX_TOKENS * shape.width
    decoder = 2 * shape.decoder_layers * positions * shape.width + text_cache
    # A complex spectrum, its absolute values and their squares; log-mel values, and one more for each step on them.
    features = _FRAMES * (4 * _FFT_BINS + 4 * shape.mel_bins) * 4
    return value_bytes * (max(encoder, decoder) + positions * shape.width) + features


def free_gpu_bytes() -> int | None:
    """Of the GPU that PyTorch and CTranslate2 both take first; ``None`` where there is no PyTorch that sees one."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    try:
        return int(torch.cuda.mem_get_info()[0])
    except RuntimeError:
        return None  # the recogniser will say what is wrong with the GPU, if it is wrong for it, too


def read_shape(model: Path) -> ModelShape | None:
    """The shape of a CTranslate2 model from the names and dimensions in its ``model.bin``; its configuration has none.

    ``None`` where the file is of another version, or of another kind of model.
    """
    try:
        with model.open("rb") as file:
            variables = dict(_variables(file))
    except (OSError, ValueError, struct.error):
        return None
    layers = {match[1] for name in variables if (match := _DECODER_LAYER.match(name))}
    match variables.get("encoder/conv1/weight"):
        case (width, mel_bins, _) if layers:
            return ModelShape(width, len(layers), mel_bins)
    return None


def _variables(file: BinaryIO) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and dimensions; the values are passed over. Raises ValueError and struct.error for anything else.

    The format is written by ctranslate2/specs/model_spec.py.
    """

    def read(layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, file.read(struct.calcsize(layout)))

    def text() -> str:
        (length,) = read("<H")
        return file.read(length)[:-1].decode()

    (version,) = read("<I")
    if version != _BINARY_VERSION:
        raise ValueError(version)
    text()
    _revision, count = read("<II")
    for _ in range(count):
        name = text()
        (rank,) = read("<B")
        dimensions = read(f"<{rank}I")
        _type, size_bytes = read("<BI")
        file.seek(size_bytes, 1)
        yield name, dimensions


def _value_bytes(compute_type: str) -> int:
    """Of activations and caches, which int8 and int16 do not make smaller."""
    return 2 if compute_type.endswith("float16") else 4
