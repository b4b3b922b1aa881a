"""Clips that say a number in tones, a tone for each digit, and the recogniser's side of it: the digits of samples.

Each of a hundred thousand clips says another number, so that a lost, doubled or swapped transcript cannot hide. They
are cheap to make: LAME encodes each tone once, without a bit reservoir, and a clip is the frames of its tones, one
after the other.
"""

from __future__ import annotations

import io
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from audioctl.clips import SAMPLE_RATE

DIGITS_OF_ARCHIVE, DIGITS_OF_CLIP = 3, 5
DIGITS = DIGITS_OF_ARCHIVE + DIGITS_OF_CLIP

_MP3_SAMPLE_RATE = 24_000
_FRAME_SAMPLES = 576
_FRAMES_OF_DIGIT = 5
DIGIT_SECONDS = _FRAMES_OF_DIGIT * _FRAME_SAMPLES / _MP3_SAMPLE_RATE
CLIP_SECONDS = DIGITS * DIGIT_SECONDS
_BITS_PER_SECOND = 32_000
_SETTLED_FRAME = 8
"""By then the encoder's delay and the start of the tone are over."""

_DELAY_SECONDS = 0.022
"""Of the decoder, which an MP3 without LAME's own first frame does not tell: a digit's sound comes later by this."""

_FREQUENCIES = 500 + 300 * np.arange(10)
"""In Hz, of the digits: apart by more than the few hundredths of a second that are looked at can blur."""

_HALF = round(DIGIT_SECONDS * SAMPLE_RATE / 4)
"""Samples on each side of a digit's middle that are looked at."""

_RECORDED_AT = 1_737_800_000


def number_of(archive: int, clip: int) -> str:
    """What the clip says."""
    return f"{archive:0{DIGITS_OF_ARCHIVE}}{clip:0{DIGITS_OF_CLIP}}"


def member_name(clip: int) -> str:
    return f"radio/{clip:05}.mp3"


def write_archive(path: Path, archive: int, clips: int) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for clip in range(clips):
            content = b"".join(_frames_of_digits()[int(digit)] for digit in number_of(archive, clip))
            header = tarfile.TarInfo(member_name(clip))
            header.size = len(content)
            header.mtime = _RECORDED_AT
            tar.addfile(header, io.BytesIO(content))


def hear_number(samples: npt.NDArray[np.int16]) -> str:
    """The digits that 16 kHz samples of a whole clip say."""
    middles = ((np.arange(DIGITS) + 0.5) * DIGIT_SECONDS + _DELAY_SECONDS) * SAMPLE_RATE
    sounds = np.stack([samples[middle - _HALF : middle + _HALF] for middle in middles.astype(int)])
    strengths = np.abs(sounds @ _probes())
    return "".join(str(digit) for digit in strengths.argmax(axis=1))


@cache
def _probes() -> npt.NDArray[np.complex64]:
    """By sample and digit: what a sound is multiplied with to tell how strong the digit's tone is in it."""
    time = np.arange(2 * _HALF) / SAMPLE_RATE
    waves = np.exp(-2j * np.pi * np.outer(time, _FREQUENCIES))
    probes: npt.NDArray[np.complex64] = (waves * np.hanning(2 * _HALF)[:, np.newaxis]).astype(np.complex64)
    return probes


@cache
def _frames_of_digits() -> list[bytes]:
    return [_settled_frames(float(frequency)) for frequency in _FREQUENCIES]


def _settled_frames(frequency: float) -> bytes:
    """MP3 frames of a digit, from the middle of a longer tone."""
    time = np.arange(_FRAME_SAMPLES * 3 * _SETTLED_FRAME) / _MP3_SAMPLE_RATE
    frame = av.AudioFrame.from_ndarray(
        (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[np.newaxis], format="fltp", layout="mono"
    )
    frame.sample_rate = _MP3_SAMPLE_RATE
    encoder: Any = av.CodecContext.create("libmp3lame", "w")
    encoder.sample_rate, encoder.layout, encoder.format = _MP3_SAMPLE_RATE, "mono", "fltp"
    encoder.bit_rate = _BITS_PER_SECOND
    encoder.options = {"reservoir": "0"}
    resampler = av.AudioResampler("fltp", "mono", _MP3_SAMPLE_RATE, frame_size=encoder.frame_size or _FRAME_SAMPLES)
    packets = [bytes(packet) for part in resampler.resample(frame) for packet in encoder.encode(part)]
    return b"".join(packets[_SETTLED_FRAME : _SETTLED_FRAME + _FRAMES_OF_DIGIT])
