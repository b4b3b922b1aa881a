"""How fast the extract stage reads an archive, beside the usual programs: ``python benchmarks/extract.py``.

Makes one archive in several formats and reads each in five ways, in turn, ``--rounds`` times:

- ours: ``audioctl``'s reader, from the file to members in memory, with a SHA-256 of each;
- unpacked: ``xz -dc | tar -x`` into a folder, as a script would;
- piped: an external program decompresses (``xz -T0``, ``pigz``), our reader reads its pipe;
- alone: that external program, into nothing: the best decompressor at hand, and no archive read;
- bytes only: our reader's decompression alone, which is what ours cannot be faster than.

Ratios are times divided by that of ours in the same round (above 1: ours is faster); the table has their medians.
"""

import argparse
import io
import os
import random
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from audioctl.names import ClipNames
from audioctl.pipeline.decompress import DecompressedFile
from audioctl.pipeline.extract import read_archive
from benchmarks.bounds import Bound, tell

CLIP_BYTES = 140_000
"""About 15 seconds of MP3."""

# MP3 is all but incompressible, yet not so random that a compressor stores it as it is; that would be read far too
# fast. With an eighth of all byte values missing, 8 bits carry 7.75.
_LIKE_MP3 = bytes(value % 224 for value in range(256))


@dataclass(frozen=True)
class Format:
    name: str
    compress: list[str]
    decompress: list[str]
    decompress_in_parallel: list[str]


FORMATS = [
    Format("tar", ["cat"], ["cat"], ["cat"]),
    Format("tar.zst", ["zstd", "-q", "-c"], ["zstd", "-dcq"], ["zstd", "-dcq"]),
    Format("tar.gz", ["gzip", "-c"], ["gzip", "-dc"], [shutil.which("pigz") or "gzip", "-dc"]),
    Format("tar.bz2", ["bzip2", "-c"], ["bzip2", "-dc"], ["bzip2", "-dc"]),
    Format("tar.xz, one block", ["xz", "-T1", "-c"], ["xz", "-dc"], ["xz", "-T0", "-dc"]),
    Format("tar.xz, many blocks", ["xz", "-T0", "--block-size=4MiB", "-c"], ["xz", "-dc"], ["xz", "-T0", "-dc"]),
]


def make_tar(path: Path, clips: int) -> None:
    generator = random.Random(0)
    with tarfile.open(path, "w") as tar:
        for number in range(clips):
            entry = tarfile.TarInfo(f"clips/{number:06d}.mp3")
            entry.size = CLIP_BYTES
            tar.addfile(entry, io.BytesIO(generator.randbytes(CLIP_BYTES).translate(_LIKE_MP3)))


def run_to_file(command: list[str], source: Path, target: Path) -> None:
    with source.open("rb") as stdin, target.open("wb") as stdout:
        subprocess.run(command, stdin=stdin, stdout=stdout, check=True)


def read_members(path: Path, scratch: Path) -> int:
    with DecompressedFile(path) as archive:
        batches = read_archive(
            archive,
            names=ClipNames("2025-01-25", "12_30"),
            batch_size=200,
            max_member_size_bytes=1 << 30,
            spool_above_bytes=64 << 20,
            spool_dir=scratch,
        )
        return sum(len(batch.members) for batch in batches)


def read_members_from_pipe(command: list[str], path: Path, scratch: Path) -> int:
    with path.open("rb") as stdin, subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        return read_members(Path(f"/dev/fd/{program.stdout.fileno()}"), scratch)


def unpack(command: list[str], path: Path, folder: Path) -> None:
    with path.open("rb") as stdin, subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE) as program:
        subprocess.run(["tar", "-C", folder, "-x"], stdin=program.stdout, check=True)


def read_bytes(path: Path) -> None:
    with DecompressedFile(path) as archive:
        while archive.read(1 << 20):
            pass


@contextmanager
def stopwatch(seconds: dict[str, list[float]], way: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds.setdefault(way, []).append(time.perf_counter() - start)


def measure(kind: Format, archive: Path, clips: int, rounds: int, workspace: Path) -> dict[str, list[float]]:
    """The seconds that each way took in each round; whoever begins changes from round to round."""

    def ours() -> None:
        assert read_members(archive, workspace) == clips

    def unpacked() -> None:
        unpack(kind.decompress, archive, target)

    def piped() -> None:
        assert read_members_from_pipe(kind.decompress_in_parallel, archive, workspace) == clips

    def alone() -> None:
        run_to_file(kind.decompress_in_parallel, archive, Path(os.devnull))

    def bytes_only() -> None:
        read_bytes(archive)

    target = workspace / "unpacked"
    ways: list[Callable[[], None]] = [ours, unpacked, piped, alone, bytes_only]
    seconds: dict[str, list[float]] = {}
    for turn in range(rounds):
        for number in range(len(ways)):
            way = ways[(number + turn) % len(ways)]
            target.mkdir()
            with stopwatch(seconds, way.__name__):
                way()
            shutil.rmtree(target)
    return seconds


def ratio(seconds: dict[str, list[float]], way: str) -> float:
    return statistics.median(theirs / ours for theirs, ours in zip(seconds[way], seconds["ours"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=600, help=f"members of {CLIP_BYTES} bytes (600)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is timed (3)")
    arguments = parser.parse_args()
    table = Table(
        title=f"{arguments.clips} clips of {CLIP_BYTES // 1000} kB; medians of {arguments.rounds} rounds",
        caption="unpacked, piped, alone, bytes only: time ÷ time of ours",
    )
    for heading in ("format", "ours MB/s", "unpacked", "piped", "alone", "bytes only", "bound by"):
        table.add_column(heading, justify="left" if heading in ("format", "bound by") else "right")
    bounds: list[Bound] = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        tar = workspace / "archive.tar"
        make_tar(tar, arguments.clips)
        for kind in FORMATS:
            archive = workspace / "archive"
            run_to_file(kind.compress, tar, archive)
            seconds = measure(kind, archive, arguments.clips, arguments.rounds, workspace)
            bytes_share = ratio(seconds, "bytes_only")
            table.add_row(
                kind.name,
                f"{tar.stat().st_size / 1e6 / statistics.median(seconds['ours']):.0f}",
                f"{ratio(seconds, 'unpacked'):.2f}",
                f"{ratio(seconds, 'piped'):.2f}",
                f"{ratio(seconds, 'alone'):.2f}",
                f"{bytes_share:.2f}",
                "decompression" if bytes_share > 0.5 else "tar, SHA-256",
            )
            if kind.decompress != ["cat"]:
                bounds.append(Bound(f"{kind.name}, speed / decompressor's", ratio(seconds, "alone"), at_least=0.9))
    Console().print(table)
    tell(bounds)


if __name__ == "__main__":
    main()
