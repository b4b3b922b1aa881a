"""Sounds and sound files for tests, made on the spot: no recording is needed, and none is shipped."""

import io
import subprocess
from functools import cache

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.container import OutputContainer

from audioctl.clips import SAMPLE_RATE

Samples = npt.NDArray[np.int16]

CODECS = {
    "mp3": ("mp3", "libmp3lame"),
    "wav": ("wav", "pcm_s16le"),
    "m4a": ("ipod", "aac"),
    "opus": ("ogg", "libopus"),
    "flac": ("flac", "flac"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
    "mka": ("matroska", "flac"),
    "wma": ("asf", "wmav2"),
    "aiff": ("aiff", "pcm_s16be"),
    "caf": ("caf", "pcm_s16le"),
    "w64": ("w64", "pcm_s16le"),
    "mp2": ("mp2", "mp2"),
    "avi": ("avi", "libmp3lame"),
    "ts": ("mpegts", "aac"),
}
"""FFmpeg's names of the container and the encoder, by file ending."""


@cache
def speech(text: str = "The quick brown fox jumps over the lazy dog.") -> Samples:
    """``text`` spoken by espeak-ng, without the silence around it: int16, mono, 16 kHz."""
    wav = subprocess.run(["espeak-ng", "--stdout", text], check=True, capture_output=True).stdout
    samples, rate = soundfile.read(io.BytesIO(_with_true_length(wav)), dtype="int16")
    spoken = resample(samples, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(spoken.astype(np.int32)) > 200)
    return spoken[loud[0] : loud[-1] + 1]


def silence(seconds: float, rate: int = SAMPLE_RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.int16)


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 440) -> Samples:
    """A sine at a quarter of full scale."""
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def resample(samples: Samples, rate: int, new_rate: int) -> Samples:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=new_rate)
    frames = [*resampler.resample(_frame(samples[np.newaxis], rate)), *resampler.resample(None)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def encoded(samples: Samples, suffix: str, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    """``samples``, the same in every channel, as the bytes of a file with the ending ``suffix`` (see ``CODECS``)."""
    file = io.BytesIO()
    if suffix == "ogg":  # PyAV comes without a Vorbis encoder
        soundfile.write(file, np.repeat(samples[:, np.newaxis], channels, 1), rate, format="OGG")
        return file.getvalue()
    container_format, codec = CODECS[suffix]
    with av.open(file, "w", format=container_format) as container:
        track = _add_track(container, codec, rate, channels)
        _fill(container, track, samples, rate)
    return file.getvalue()


def video(sound: Samples | None) -> bytes:
    """An MP4 video of a second, with a sound track unless ``sound`` is None."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        pictures = container.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        track = None if sound is None else _add_track(container, "aac", SAMPLE_RATE, 1)
        for _ in range(10):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
        if sound is not None and track is not None:
            _fill(container, track, sound, SAMPLE_RATE)
    return file.getvalue()


def id3v1(title: bytes) -> bytes:
    return (b"TAG" + title).ljust(128, b"\0")


def id3v2(title: bytes, padding: int = 0) -> bytes:
    """An ID3v2.3 tag whose title claims to be Latin-1."""
    frame = b"TIT2" + (len(title) + 1).to_bytes(4, "big") + b"\0\0\0" + title
    size = len(frame) + padding
    sync_safe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + sync_safe + frame + bytes(padding)


def _add_track(container: OutputContainer, codec: str, rate: int, channels: int) -> av.AudioStream:
    layout = {1: "mono", 2: "stereo"}[channels]
    track = container.add_stream(codec, rate=rate, layout=layout)
    assert isinstance(track, av.AudioStream)
    track.bit_rate = 64_000
    return track


def _fill(container: OutputContainer, track: av.AudioStream, samples: Samples, rate: int) -> None:
    frame = _frame(np.repeat(samples, track.channels)[np.newaxis], rate, track.layout.name)
    frame.pts = 0
    resampler = av.AudioResampler(format=track.format, layout=track.layout, rate=track.rate)
    for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(track.encode(resampled))
    container.mux(track.encode(None))


def _frame(samples: Samples, rate: int, layout: str = "mono") -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
    frame.sample_rate = rate
    return frame


def _with_true_length(wav: bytes) -> bytes:
    """espeak-ng cannot go back in a pipe, and writes lengths of 2 GB into the header."""
    return wav[:40] + (len(wav) - 44).to_bytes(4, "little") + wav[44:]
