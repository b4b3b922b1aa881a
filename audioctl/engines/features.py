"""Log-mel features of many windows at once, as Whisper models want them.

The formula is that of faster-whisper's FeatureExtractor (a 25 ms Hann window every 10 ms, power 2, mel filters,
log10, at most 8 below the loudest, scaled by (x + 4) / 4), window by window; frames behind a window's end are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from faster_whisper.feature_extractor import FeatureExtractor

Samples = npt.NDArray[np.int16]
Features = npt.NDArray[np.float32]

HOP = 160
"""Samples from one frame to the next."""

_FFT = 400
_SMALLEST_POWER = 1e-10
_DYNAMIC_RANGE = 8.0
_FULL_SCALE = 32768.0


class LogMel(Protocol):
    def __call__(self, windows: Sequence[Samples], frames: int) -> Features:
        """Features of shape (windows, mel bins, frames); windows longer than ``frames`` are cut."""
        ...


def frame_count(samples: Samples) -> int:
    """Frames that hold sound of these samples."""
    return len(samples) // HOP


class NumpyLogMel:
    """Features by faster-whisper's own extractor, on the CPU."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor

    def __call__(self, windows: Sequence[Samples], frames: int) -> Features:
        features = np.zeros((len(windows), self._extractor.mel_filters.shape[0], frames), np.float32)
        for row, samples in zip(features, windows, strict=True):
            content = min(frame_count(samples), frames)
            row[:, :content] = self._extractor(samples.astype(np.float32) / _FULL_SCALE)[:, :content]
        return features


class TorchLogMel:
    """The same features for a whole batch in a few kernels; for ``device`` "cuda"."""

    def __init__(self, mel_filters: npt.NDArray[np.float32], device: str) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._filters = torch.from_numpy(mel_filters).to(device)
        self._hann = torch.hann_window(_FFT, periodic=True, device=device)

    def __call__(self, windows: Sequence[Samples], frames: int) -> Features:
        torch = self._torch
        with torch.inference_mode():
            # The extractor mirrors both ends; but it first puts a hop of silence behind the sound, and no frame that
            # counts reaches beyond that and its mirror image.
            sound = torch.from_numpy(_stacked(windows, frames * HOP + _FFT // 2)).to(self._device) / _FULL_SCALE
            spectrum = torch.stft(
                torch.nn.functional.pad(sound, (_FFT // 2, 0), mode="reflect"),
                n_fft=_FFT,
                hop_length=HOP,
                window=self._hann,
                center=False,
                return_complex=True,
            )
            log_mel = (self._filters @ spectrum.abs().square()).clamp(min=_SMALLEST_POWER).log10()
            # The extractor drops its last frame, but only after it has looked for the loudest.
            looked_at = self._first_frames([frame_count(samples) + 1 for samples in windows], frames + 1)
            loudest = log_mel.masked_fill(~looked_at, -torch.inf).amax(dim=(1, 2), keepdim=True)
            scaled = (torch.maximum(log_mel, loudest - _DYNAMIC_RANGE) + 4.0) / 4.0
            inside = self._first_frames([frame_count(samples) for samples in windows], frames)
            features: Features = scaled[..., :frames].masked_fill(~inside, 0.0).cpu().numpy()
        return features

    def _first_frames(self, counts: Sequence[int], frames: int) -> torch.Tensor:
        """A mask of shape (windows, 1, frames): the first ``counts`` of each window."""
        numbers = self._torch.arange(frames)
        mask: torch.Tensor = numbers < self._torch.tensor(counts)[:, None, None]
        return mask.to(self._device)


def best_log_mel(extractor: FeatureExtractor, device: str) -> LogMel:
    """On the GPU where the recogniser runs there and torch is installed, else by the extractor itself."""
    if device == "cuda":
        try:
            import torch
        except ImportError:
            return NumpyLogMel(extractor)
        if torch.cuda.is_available():
            return TorchLogMel(extractor.mel_filters, device)
    return NumpyLogMel(extractor)


def _stacked(windows: Sequence[Samples], length: int) -> Samples:
    """One row a window, silent behind its end."""
    stacked = np.zeros((len(windows), length), np.int16)
    for row, samples in zip(stacked, windows, strict=True):
        row[: len(samples)] = samples[:length]
    return stacked
