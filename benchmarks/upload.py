"""Files per second of the uploader over a loopback sshd, beside the ways it replaces.

    python -m benchmarks.upload [--files 3000] [--concurrency 8 2]

Every way sends files of the same size over the same sshd, to a folder of its own, several times, in turns; the median
counts. On one machine both ends share its cores: read the ratios, not the rates.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

from audioctl.clips import OpusFile
from audioctl.pipeline.upload import Uploader
from audioctl.storage.destination import parse_destination
from benchmarks.bounds import Bound, tell

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sshd import Sshd

FILE_BYTES = 58_000
"""An Opus copy of about 15 s at 32 kbit/s."""

FILES_ONE_BY_ONE = 20
"""The old way takes so long that a sample must do."""

PLAIN = "one plain rsync -a, ssh"
ONE_A_CALL = "uploader, 1 file a call, ssh"


def make_files(folder: Path, count: int) -> list[OpusFile]:
    folder.mkdir()
    content = os.urandom(FILE_BYTES)
    files = []
    for ordinal in range(count):
        path = folder / f"{ordinal}.opus"
        path.write_bytes(content)
        files.append(OpusFile(ordinal, path, f"audio/2025/01/25/12_30/{ordinal}.opus", FILE_BYTES, sha256=""))
    return files


def uploader(
    files: Sequence[OpusFile], sshd: Sshd, concurrency: int, files_per_call: int, destination: str, target: Path
) -> None:
    with Uploader(
        parse_destination(f"{destination}{target}"),
        max_concurrent_uploads=concurrency,
        files_per_call=files_per_call,
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
    parser.add_argument("--files-per-call", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="bench-upload-") as name:
        folder = Path(name)
        files = make_files(folder / "scratch", arguments.files)
        sample = files[:FILES_ONE_BY_ONE]
        with Sshd(folder / "sshd") as sshd:
            shell = shlex.join(
                ["ssh", "-i", str(sshd.client_key), *(part for option in sshd.options for part in ("-o", option))]
            )
            remote = f"{sshd.login}:"
            # Each with how many files it sends, and what sends them to a folder.
            ways: dict[str, tuple[int, Callable[[Path], None]]] = {
                PLAIN: (len(files), partial(plain_rsync, folder / "scratch", shell, remote)),
                "one plain rsync -a, local": (len(files), partial(plain_rsync, folder / "scratch", shell, "")),
            }
            for count, files_per_call, (place, destination) in product(
                arguments.concurrency, arguments.files_per_call, (("ssh", remote), ("local", ""))
            ):
                ways[f"uploader, {count} x {files_per_call}, {place}"] = (
                    len(files),
                    partial(uploader, files, sshd, count, files_per_call, destination),
                )
            ways[ONE_A_CALL] = (len(sample), partial(uploader, sample, sshd, 1, 1, remote))
            ways["ssh mkdir + rsync -z for each file"] = (
                len(sample),
                partial(one_by_one, sample, shell, sshd.login),
            )
            measured: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for round_number in range(arguments.rounds):
                for number, (way, (_, work)) in enumerate(ways.items()):
                    measured[way].append(seconds(work, folder / f"target-{round_number}-{number}"))

    def ratio_to_plain(way: str) -> float:
        return statistics.median(own[0] / plain[0] for own, plain in zip(measured[way], measured[PLAIN], strict=True))

    per_file = {
        way: (statistics.median(wall for wall, _ in times) / ways[way][0], sum(cpu for _, cpu in times) / len(times))
        for way, times in measured.items()
    }
    print(
        f"{len(files)} files of {FILE_BYTES // 1000} kB, median of {arguments.rounds} rounds, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}; 8 x 200: eight calls side by side, of 200 files each"
    )
    print(f"{'way':<36}{'files/s':>9}{'of plain ssh':>14}{'client CPU ms/file':>20}")
    for way, (wall, cpu) in per_file.items():
        print(f"{way:<36}{1 / wall:>9.3g}{per_file[PLAIN][0] / wall:>14.2g}{1000 * cpu / ways[way][0]:>20.2f}")
    call, of_files = per_file[ONE_A_CALL][0], 100 * per_file[PLAIN][0]
    print(
        f"What bounds it: a call costs {1000 * call:.0f} ms whatever it carries (a session, two rsyncs), and 100 files "
        f"{1000 * of_files:.0f} ms, which is encryption and two file systems."
    )
    tell(
        [
            Bound(f"{way}, time / plain rsync's", ratio_to_plain(way), at_most=1.3)
            for way in ways
            if way.startswith("uploader") and way.endswith("ssh") and way != ONE_A_CALL
        ]
    )


if __name__ == "__main__":
    main()
