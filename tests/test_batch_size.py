"""How many windows go through the model at once where nobody has said so. GPUs are stand-ins: none is at hand."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from speech import small_model_path

from audioctl.engines import batch_size
from audioctl.engines.batch_size import ModelShape, bytes_per_window, choose_batch_size, free_gpu_bytes, read_shape
from audioctl.engines.loading import load_engine
from audioctl.settings import Transcribe

GIB = 1024**3
SMALL = ModelShape(width=768, decoder_layers=12, mel_bins=80)
LARGE_V2 = ModelShape(width=1280, decoder_layers=32, mel_bins=80)
LARGE_V3 = ModelShape(width=1280, decoder_layers=32, mel_bins=128)
TURBO = ModelShape(width=1280, decoder_layers=4, mel_bins=128)


class Torch:
    """PyTorch with a GPU of which so much is free. ``failure`` is what asking for it raises."""

    def __init__(self, free: int, is_available: bool = True, failure: Exception | None = None) -> None:
        self._free, self._failure = free, failure
        self.cuda = SimpleNamespace(is_available=lambda: is_available, mem_get_info=self._mem_get_info)

    def _mem_get_info(self) -> tuple[int, int]:
        if self._failure is not None:
            raise self._failure
        return self._free, 2 * self._free


def install(torch: Torch | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)


def test_the_estimate_is_near_what_faster_whisper_measured() -> None:
    """Its README has the memory of one window and of eight; on the GPU they did not hold as much text as they may."""
    measured_small_float32 = (4230 - 2257) * 1e6 / 7
    assert bytes_per_window(SMALL, 5, 4) == pytest.approx(measured_small_float32, rel=0.05)
    measured_large_v2_float16 = (6090 - 4525) * 1e6 / 7
    assert 1 <= bytes_per_window(LARGE_V2, 5, 2) / measured_large_v2_float16 < 2.5


def test_more_beams_than_samples_need_more_memory() -> None:
    assert bytes_per_window(LARGE_V3, 1, 2) == bytes_per_window(LARGE_V3, 5, 2) < bytes_per_window(LARGE_V3, 10, 2)


@pytest.mark.parametrize(
    ("shape", "compute_type", "free_gib", "size"),
    [
        (TURBO, "float16", 6, 21),
        (TURBO, "int8_float16", 6, 21),
        (TURBO, "float32", 6, 11),
        (LARGE_V3, "float16", 20, 37),
        (LARGE_V3, "bfloat16", 20, 37),
        (LARGE_V3, "float16", 1, batch_size.LEAST_ON_GPU),
        (LARGE_V3, "float16", 130, batch_size.MOST_ON_GPU),
    ],
)
def test_on_a_gpu_it_goes_by_the_free_memory(
    shape: ModelShape, compute_type: str, free_gib: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Torch(free_gib * GIB), monkeypatch)
    assert choose_batch_size("cuda", compute_type, shape, beam_size=5) == size


@pytest.mark.parametrize(
    "torch",
    [None, Torch(GIB, is_available=False), Torch(GIB, failure=RuntimeError("CUDA error: unknown error"))],
    ids=["not installed", "sees no GPU", "fails"],
)
def test_a_gpu_of_which_nothing_is_known_gets_what_was_usual(
    torch: Torch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(torch, monkeypatch)
    assert free_gpu_bytes() is None
    assert choose_batch_size("cuda", "float16", TURBO, 5) == batch_size.ON_UNKNOWN_GPU


def test_so_does_a_model_of_unknown_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    install(Torch(GIB), monkeypatch)
    assert choose_batch_size("cuda", "float16", None, 5) == batch_size.ON_UNKNOWN_GPU


def test_the_shape_of_a_model_is_read_from_its_file() -> None:
    assert read_shape(small_model_path() / "model.bin") == ModelShape(width=128, decoder_layers=3, mel_bins=80)


@pytest.mark.parametrize("content", [b"", b"{", struct.pack("<I", 5), struct.pack("<IH", 6, 9) + b"GPT2Spec\0"])
def test_a_file_that_is_no_such_model_has_no_shape(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(content)
    assert read_shape(file) is None
    assert read_shape(tmp_path / "missing.bin") is None


@pytest.mark.parametrize(("settings", "size"), [({}, batch_size.ON_CPU), ({"window_batch_size": 5}, 5)])
def test_what_is_set_is_taken_and_told(settings: dict[str, Any], size: int) -> None:
    engine = load_engine(Transcribe(model="bundled", device="cpu", **settings))
    assert engine.options.window_batch_size == size
    assert f"up to {size} windows at once" in engine.description
