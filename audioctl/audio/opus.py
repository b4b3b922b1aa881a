"""The small copy of a clip: Ogg Opus."""

import hashlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.error import FFmpegError

from audioctl.clips import SAMPLE_RATE
from audioctl.errors import ScratchError

DEFAULT_BITRATE = 32_000
"""Bits per second: transparent for speech at 16 kHz."""

COMPRESSION_LEVEL = 5
"""libopus' complexity, of 0-10. 10 takes 1.4 times as long and is hardly nearer to the original (2 %); 3 would take 0.8
of the time, and be farther from it by 7 % (benchmarks/opus_quality.py). Encoding is most of what converting costs."""


class OpusWriter:
    """Writes one Ogg Opus file: mono, made for voices, the same bytes for the same samples.

    Use it as a context manager. The file grows under a temporary name, ``<path>.part``, and gets its own when it is
    complete; an exception in the ``with`` block removes it. ``size_bytes`` and ``sha256`` are those of the complete
    file. Every method raises ScratchError where the disk is full or not writable.
    """

    def __init__(self, path: Path, bitrate: int = DEFAULT_BITRATE) -> None:
        self._path = path
        self._bitrate = bitrate
        self._samples_written = 0
        self.size_bytes = 0
        self.sha256 = ""

    @property
    def duration_seconds(self) -> float:
        return self._samples_written / SAMPLE_RATE

    def __enter__(self) -> Self:
        try:
            self._file = _HashedFile(part_of(self._path))
        except OSError as error:
            raise _scratch_error(self._path, error) from error
        # bitexact keeps library versions and random stream numbers out of the file.
        self._container = av.open(self._file, "w", format="ogg", options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream(
            "libopus",
            rate=SAMPLE_RATE,
            layout="mono",
            bit_rate=self._bitrate,
            options={"application": "voip", "compression_level": str(COMPRESSION_LEVEL)},
        )
        self._stream.codec_context.flags |= Flags.bitexact
        return self

    def write(self, samples: npt.NDArray[np.int16]) -> None:
        """Appends mono 16 kHz samples."""
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = self._samples_written
        self._samples_written += len(samples)
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise _scratch_error(self._path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._file.close()
            part_of(self._path).rename(self._path)
        except OSError as problem:
            self._abandon()
            raise _scratch_error(self._path, problem) from problem
        self.size_bytes, self.sha256 = self._file.size_bytes, self._file.sha256

    def _abandon(self) -> None:
        # Closing writes what is buffered, and fails again where writing has failed before.
        with suppress(OSError, FFmpegError):
            self._container.close()
        with suppress(OSError):
            self._file.close()
        part_of(self._path).unlink(missing_ok=True)


class _HashedFile:
    """A file that is only ever appended to, and knows its length and SHA-256."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


def part_of(path: Path) -> Path:
    """The name that ``path`` has until it is complete."""
    return path.with_name(path.name + ".part")


def _scratch_error(path: Path, error: OSError) -> ScratchError:
    return ScratchError(
        f"The Opus copy {path} could not be written: {error.strerror or error}.",
        hint="Free some space there, or point paths.scratch at a larger disk.",
    )
