"""From the bytes of a clip to its samples, block by block, whatever its format.

soundfile reads MP3, WAV, Ogg and AIFF, several times faster, PyAV everything else and whatever
soundfile cannot open. Both feed FFmpeg's resampler, so all clips come out alike.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.error import FFmpegError

from audioctl.audio.containers import Container, Sniffed, holds_only_tags, is_cut_off, sniff
from audioctl.clips import SAMPLE_RATE
from audioctl.states import Reason

Samples = npt.NDArray[np.int16]

# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf",
    ".flac", ".flv", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp1", ".mp2", ".mp3", ".mp4",
    ".mpeg", ".mpg", ".oga", ".ogg", ".ogv", ".opus", ".snd", ".spx", ".tta", ".w64", ".wav", ".wave",
    ".weba", ".webm", ".wma", ".wmv", ".wv",
})
# fmt: on
"""Endings of names that promise sound, video files included: many recorders write nothing else."""

_SOUNDFILE_READS = frozenset({Container.MPEG_AUDIO, Container.WAVE, Container.OGG, Container.AIFF})
"""Not FLAC: of a file that is cut off libsndfile drops up to a whole block of good samples."""

_FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,tta,voc,"
    "w64,wav,wv"
)
"""Only these: FFmpeg also reads play lists, which name other files and addresses, and a clip is not to be trusted."""

_BLOCK_VALUES = 1 << 17
"""Values (frames times channels) that soundfile hands over at a time: 3 s of a 44.1 kHz mono file, half a megabyte."""

# What the two libraries raise for bytes they cannot make sense of.
_DECODER_ERRORS = (FFmpegError, soundfile.SoundFileError, ValueError, EOFError, RuntimeError, OverflowError)


class UnusableClipError(Exception):
    """There are no samples to be had: ``reason`` is EMPTY, UNDECODABLE or NOT_AUDIO; or there are TOO_LARGE a lot."""

    def __init__(self, reason: Reason, detail: str | None = None) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class ClipDecoder:
    """Decodes one clip, once.

    ``content`` is the file's bytes or its path; ``name`` only hints at what it is. ``truncated`` is known when
    ``blocks`` has come to its end: the clip's own end is missing, and the samples are what could be had.
    """

    def __init__(self, content: bytes | Path, name: str) -> None:
        self._content = content
        self._name = name
        self.truncated = False

    def blocks(self) -> Iterator[Samples]:
        """The samples in order: int16, mono, 16 kHz, at most a few seconds at a time, never nothing at all.

        Raises UnusableClipError before the first block, and OSError where a file cannot be read.
        """
        with _open(self._content) as stream:
            sniffed = sniff(stream)
            if sniffed is None and PurePosixPath(self._name).suffix.lower() not in AUDIO_SUFFIXES:
                raise UnusableClipError(Reason.NOT_AUDIO)
            yield from self._decode(stream, sniffed)
            if sniffed is not None and is_cut_off(stream, sniffed):
                self.truncated = True

    def _decode(self, stream: BinaryIO, sniffed: Sniffed | None) -> Iterator[Samples]:
        failure: Exception | None = None
        for read in _readers(sniffed):
            stream.seek(0)
            failure = None
            frames = read(stream)
            resampler = _Resampler()
            try:
                for frame in frames:
                    yield from resampler.push(frame)
            except _DECODER_ERRORS as error:
                failure = error
            if resampler.has_input:
                self.truncated = failure is not None
                yield from resampler.finish()
                return
        raise _why_nothing_came(stream, sniffed, failure)


class _Resampler:
    """Frames of any rate, layout and format, which may change on the way, as mono int16 at 16 kHz."""

    def __init__(self) -> None:
        self._source: tuple[str, str, int] | None = None
        self._resampler = av.AudioResampler()
        self._has_output = False

    @property
    def has_input(self) -> bool:
        return self._source is not None

    def push(self, frame: av.AudioFrame) -> Iterator[Samples]:
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:
            yield from self._resample(None)
            self._source = source
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        yield from self._resample(frame)

    def finish(self) -> Iterator[Samples]:
        yield from self._resample(None)
        if not self._has_output:  # a few samples at a high rate are less than one of ours, but they are a clip
            yield np.zeros(1, np.int16)

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        for resampled in self._resampler.resample(frame):
            if resampled.samples:
                self._has_output = True
                yield resampled.to_ndarray()[0]


def _open(content: bytes | Path) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def _readers(sniffed: Sniffed | None) -> list[Callable[[BinaryIO], Iterator[av.AudioFrame]]]:
    if sniffed is not None and sniffed.container in _SOUNDFILE_READS:
        return [_read_with_soundfile, _read_with_ffmpeg]
    return [_read_with_ffmpeg]


class _ForwardOnly(soundfile.SoundFile):  # type: ignore[misc] # it has no types
    """A file that reads on from where it is. soundfile seeks there after every block, and mpg123 complains of that."""

    def seekable(self) -> bool:
        return False


def _read_with_soundfile(stream: BinaryIO) -> Iterator[av.AudioFrame]:
    with _ForwardOnly(stream) as file:
        frames_per_block = max(1, _BLOCK_VALUES // file.channels)
        while len(block := file.read(frames_per_block, dtype="float32", always_2d=True)):
            mono = block.mean(axis=1, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(mono[np.newaxis], format="flt", layout="mono")
            frame.sample_rate = file.samplerate
            yield frame


def _read_with_ffmpeg(stream: BinaryIO) -> Iterator[av.AudioFrame]:
    options = {"format_whitelist": _FFMPEG_FORMATS}
    with av.open(stream, "r", options=options, metadata_errors="replace") as container:
        track = container.streams.best("audio")
        if not isinstance(track, av.AudioStream):
            raise ValueError("no audio track")
        track.codec_context.thread_count = 1
        samples = 0
        failure: FFmpegError | None = None
        for packet in container.demux(track):
            try:
                frames = packet.decode()
            except FFmpegError as error:  # costs the packet, not the rest of the clip
                failure = error
                continue
            for frame in frames:
                samples += frame.samples
                yield frame
        if failure is not None and samples == 0:
            raise failure
        if container.format.name == "flac" and samples < _declared_samples(track):
            raise EOFError("samples are missing")


def _declared_samples(track: av.AudioStream) -> int:
    """What FLAC's STREAMINFO says; other formats only estimate."""
    if track.duration is None or track.time_base is None:
        return 0
    return round(track.duration * track.time_base * track.rate)


def _why_nothing_came(stream: BinaryIO, sniffed: Sniffed | None, failure: Exception | None) -> UnusableClipError:
    if failure is None or holds_only_tags(stream, 0 if sniffed is None else sniffed.start):
        return UnusableClipError(Reason.EMPTY, "no samples")
    if sniffed is not None and is_cut_off(stream, sniffed):
        return UnusableClipError(Reason.UNDECODABLE, "cut off before anything that can be decoded")
    text = (failure.strerror if isinstance(failure, FFmpegError) else str(failure)) or type(failure).__name__
    return UnusableClipError(Reason.UNDECODABLE, text[0].lower() + text[1:])
