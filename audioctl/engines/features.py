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
    from faster_whisper.feature_extractor import FeatureExtractor

Samples = npt.NDArray[np.int16]
Features = npt.NDArray[np.float32]

_HOP = 160
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
    return len(samples) // _HOP


class NumpyLogMel:
    """Features by faster-whisper's own extractor, on the CPU."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor

    def __call__(self, windows: Sequence[Samples], frames: int) -> Features:
        features = np.zeros((len(windows), self._extractor.mel_filters.shape[0], frames), np.float32)
        for row, samples in zip(features, windows, strict=True):
            content = min(frame_count(samples), frames)
            row[:, :content] = self._extractor(_as_float(samples))[:, :content]
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
        padded = np.zeros((len(windows), frames * _HOP + _FFT), np.float32)
        for row, samples in zip(padded, windows, strict=True):
            # As the extractor does it: one hop of silence behind, then half an FFT mirrored at both ends.
            signal = np.pad(np.pad(_as_float(samples), (0, _HOP)), _FFT // 2, mode="reflect")[: padded.shape[1]]
            row[: len(signal)] = signal
        content = torch.tensor([min(frame_count(samples), frames) for samples in windows], device=self._device)
        inside = torch.arange(frames, device=self._device)[None, :] < content[:, None]
        with torch.inference_mode():
            spectrum = torch.stft(
                torch.from_numpy(padded).to(self._device),
                n_fft=_FFT,
                hop_length=_HOP,
                window=self._hann,
                center=False,
                return_complex=True,
            )[..., :frames]
            log_mel = (self._filters @ spectrum.abs().square()).clamp(min=_SMALLEST_POWER).log10()
            loudest = log_mel.masked_fill(~inside[:, None, :], -torch.inf).amax(dim=(1, 2), keepdim=True)
            scaled = (torch.maximum(log_mel, loudest - _DYNAMIC_RANGE) + 4.0) / 4.0
            features: Features = scaled.masked_fill(~inside[:, None, :], 0.0).cpu().numpy()
        return features


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


def _as_float(samples: Samples) -> Features:
    # A window shorter than an FFT is lengthened by silence: mirroring needs something to mirror.
    short = max(0, _FFT - len(samples))
    return np.pad(samples.astype(np.float32) / _FULL_SCALE, (0, short))
