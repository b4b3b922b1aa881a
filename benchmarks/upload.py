"""Files per second of the uploader over a loopback sshd, beside the ways it replaces.

    python benchmarks/upload.py [--files 3000] [--concurrency 8 2]

Every way sends files of the same size over the same sshd, to a folder of its own, several times, in turns; the median
counts. On one machine both ends share its cores: read the ratios, not the rates.
"""

import argparse
import functools
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from audioctl.clips import OpusFile
from audioctl.pipeline.upload import Uploader
from audioctl.storage.destination import parse_destination

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sshd import Sshd

FILE_BYTES = 58_000
"""An Opus copy of about 15 s at 32 kbit/s."""

FILES_ONE_BY_ONE = 20
"""The old way takes so long that a sample must do."""


def make_files(folder: Path, count: int) -> list[OpusFile]:
    folder.mkdir()
    content = os.urandom(FILE_BYTES)
    files = []
    for ordinal in range(count):
        path = folder / f"{ordinal}.opus"
        path.write_bytes(content)
        files.append(OpusFile(ordinal, path, f"audio/2025/01/25/12_30/{ordinal}.opus", FILE_BYTES, sha256=""))
    return files


def uploader(files: Sequence[OpusFile], sshd: Sshd, concurrency: int, destination: str, target: Path) -> None:
    with Uploader(
        parse_destination(f"{destination}{target}"),
        max_concurrent_uploads=concurrency,
        ssh_key=sshd.client_key,
        ssh_options=sshd.options,
    ) as running:
        result = running.submit(files).result()
    assert not result.failed, result.failed[0]


def plain_rsync(source: Path, shell: str, destination: str, target: Path) -> None:
    subprocess.run(["rsync", "-a", "--mkpath", "--rsh", shell, f"{source}/", f"{destination}{target}/"], check=True)


def one_by_one(files: Sequence[OpusFile], shell: str, login: str, target: Path) -> None:
    for file in files:
        subprocess.run([*shlex.split(shell), login, f"mkdir -p {target}"], check=True)
        subprocess.run(["rsync", "-az", "--rsh", shell, file.local_path, f"{login}:{target}/"], check=True)


def seconds(work: Callable[[Path], None], target: Path) -> tuple[float, float]:
    """Wall-clock time, and the CPU time of this process and the programs it waited for."""
    before, started = os.times(), time.perf_counter()
    work(target)
    elapsed, after = time.perf_counter() - started, os.times()
    return elapsed, sum(after[:4]) - sum(before[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="bench-upload-") as name:
        folder = Path(name)
        files = make_files(folder / "scratch", arguments.files)
        with Sshd(folder / "sshd") as sshd:
            options = [part for option in sshd.options for part in ("-o", option)]
            shell = shlex.join(["ssh", "-i", str(sshd.client_key), *options])
            remote = f"{sshd.login}:"
            ways: dict[str, tuple[int, Callable[[Path], None]]] = {
                "one plain rsync -a, ssh": (
                    len(files),
                    functools.partial(plain_rsync, folder / "scratch", shell, remote),
                ),
                "one plain rsync -a, local": (
                    len(files),
                    functools.partial(plain_rsync, folder / "scratch", shell, ""),
                ),
            }
            for count in arguments.concurrency:
                for place, destination in (("ssh", remote), ("local", "")):
                    ways[f"uploader, {count} side by side, {place}"] = (
                        len(files),
                        functools.partial(uploader, files, sshd, count, destination),
                    )
            sample = files[:FILES_ONE_BY_ONE]
            ways["ssh mkdir + rsync -z a file, ssh"] = (
                len(sample),
                functools.partial(one_by_one, sample, shell, sshd.login),
            )
            measured: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for round_number in range(arguments.rounds):
                for number, (way, (_, work)) in enumerate(ways.items()):
                    target = folder / f"target-{round_number}-{number}"
                    measured[way].append(seconds(work, target))

    limit = statistics.median(elapsed for elapsed, _ in measured["one plain rsync -a, ssh"]) / len(files)
    print(f"{len(files)} files of {FILE_BYTES // 1000} kB, median of {arguments.rounds}, {os.cpu_count()} cores")
    print(f"{'way':<36}{'files/s':>9}{'of plain ssh':>14}{'client CPU ms/file':>20}")
    for way, (count, _) in ways.items():
        elapsed = statistics.median(elapsed for elapsed, _ in measured[way]) / count
        cpu = statistics.median(cpu for _, cpu in measured[way]) / count
        print(f"{way:<36}{1 / elapsed:>9.0f}{limit / elapsed:>13.2f}x{1000 * cpu:>20.2f}")
    print(
        "What bounds it: the CPU of both ends (here the same cores), which start one rsync on each side a call and "
        "encrypt every byte; a shared connection encrypts on one core."
    )


if __name__ == "__main__":
    main()
