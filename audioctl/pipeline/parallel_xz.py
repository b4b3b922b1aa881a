"""Decompressing an xz file on several cores, where it was written so that this is possible.

liblzma is the bound of reading a .tar.xz, at some 20 MB/s a core. Python's lzma has no threads; the xz program has,
for files whose blocks say how large they are, as ``xz -T0`` writes them (and every xz from 5.6 on does by default).
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from audioctl.environment import without_secrets
from audioctl.pipeline.signals import held_back

_STREAM_HEADER_BYTES = 12
_BLOCK_FLAGS_AT = _STREAM_HEADER_BYTES + 1
_BOTH_SIZES = 0xC0
# Sections 2.1.1 and 3.1.2 of the .xz file format, https://tukaani.org/xz/xz-file-format.txt

MOST_THREADS = 4
"""Some 80 MB/s, far more than any recogniser hears; the other cores are for converting."""

_CHUNK_BYTES = 256 << 10
_DEAF = 'trap "" INT TERM USR1; exec "$0" "$@"'


def is_parallel(beginning: bytes) -> bool:
    """Whether the first bytes of an xz file say that its blocks can be decompressed side by side here."""
    return (
        len(beginning) > _BLOCK_FLAGS_AT
        and beginning[_BLOCK_FLAGS_AT] & _BOTH_SIZES == _BOTH_SIZES
        and len(os.sched_getaffinity(0)) > 1
        and shutil.which("xz") is not None
    )


class XzFailedError(Exception):
    """xz gave up on the file; the text is what it said."""


class XzProcess:
    """An xz program at work on a file; a context manager, leaving it ends the program. Raises OSError."""

    def __init__(self, path: Path) -> None:
        threads = min(MOST_THREADS, len(os.sched_getaffinity(0)))
        self._input = path.open("rb")
        # Slurm signals every process of a job to make it drain; what is read until then should still be read well.
        # xz unblocks what was blocked when it began, but leaves alone what was ignored.
        with held_back():  # until the shell ignores them
            self._process = subprocess.Popen(
                ["sh", "-c", _DEAF, "xz", "--decompress", "--stdout", f"--threads={threads}"],
                stdin=self._input,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**without_secrets(os.environ), "LC_ALL": "C"},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._input.close()

    @property
    def compressed_bytes_read(self) -> int:
        """The program reads by our descriptor, so its place in the file is ours."""
        return os.lseek(self._input.fileno(), 0, os.SEEK_CUR)

    def chunks(self) -> Iterator[bytes]:
        """The content; XzFailedError comes behind what could be decompressed, OSError where that is not its fault."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        while chunk := self._process.stdout.read(_CHUNK_BYTES):
            yield chunk
        complaint = self._process.stderr.read().decode(errors="replace").strip()
        exit_code = self._process.wait()
        if exit_code < 0 or "Read error" in complaint:
            raise OSError(errno.EIO, complaint or f"xz was ended by {signal.Signals(-exit_code).name}")
        if exit_code > 0:
            raise XzFailedError(complaint.removeprefix("xz: (stdin): ") or f"exit code {exit_code}")
