"""Archives that xz can decompress on several cores: the same members, and the same damage noticed."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from archives import file_entry, tar_bytes

from audioctl.clips import Member
from audioctl.errors import ArchiveDamagedError, ArchiveUnreadableError
from audioctl.names import ClipNames
from audioctl.pipeline.decompress import DecompressedFile
from audioctl.pipeline.extract import read_archive
from audioctl.pipeline.parallel_xz import is_parallel
from audioctl.states import Damage

MEMBERS = 40
TAR = tar_bytes([file_entry(f"{number:03}.mp3", os.urandom(20_000)) for number in range(MEMBERS)])


@pytest.fixture(scope="module")
def parallel_xz() -> bytes:
    command = ["xz", "-0", "--threads=2", "--block-size=64KiB", "--stdout"]
    return subprocess.run(command, input=TAR, capture_output=True, check=True).stdout


def read(path: Path, members: list[Member]) -> None:
    """Appends what can be read, so that a test has it when the rest cannot."""
    with DecompressedFile(path) as archive:
        for batch in read_archive(
            archive,
            names=ClipNames("2025-01-25", "12_30"),
            batch_size=1,
            max_member_size_bytes=1 << 20,
            spool_above_bytes=1 << 20,
            spool_dir=path.parent,
        ):
            members += batch.members
        assert archive.compressed_bytes_read == archive.compressed_size_bytes


def exhaust(archive: DecompressedFile) -> None:
    while archive.read(1 << 20):
        pass


def xz_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.name() == "xz"]


def test_only_blocks_that_say_their_size_are_decompressed_side_by_side(parallel_xz: bytes) -> None:
    alone = subprocess.run(["xz", "-0", "--threads=1", "--stdout"], input=TAR, capture_output=True, check=True).stdout
    assert not is_parallel(alone[:32])
    assert is_parallel(parallel_xz[:32]) == (len(os.sched_getaffinity(0)) > 1)


@pytest.mark.parametrize("padding_bytes", [0, 512])
def test_members_are_those_of_the_archive(padding_bytes: int, parallel_xz: bytes, tmp_path: Path) -> None:
    plain, compressed = tmp_path / "a.tar", tmp_path / "a.tar.xz"
    plain.write_bytes(TAR)
    compressed.write_bytes(parallel_xz + bytes(padding_bytes))
    expected: list[Member] = []
    members: list[Member] = []
    read(plain, expected)
    read(compressed, members)
    assert members == expected
    assert len(members) == MEMBERS
    assert not xz_processes()


@pytest.mark.parametrize(
    ("damaged", "damage"),
    [
        (lambda xz: xz[: len(xz) * 6 // 10], Damage.CUT_OFF),
        (lambda xz: xz[:-6], Damage.CUT_OFF),
        (lambda xz: xz[: len(xz) // 2] + bytes([xz[len(xz) // 2] ^ 1]) + xz[len(xz) // 2 + 1 :], Damage.CORRUPT),
        (lambda xz: xz + b"rubbish" * 10, Damage.CORRUPT),
    ],
    ids=["cut at 60 %", "without its end", "flipped bit", "rubbish behind"],
)
def test_damage_is_noticed_and_the_head_is_kept(
    damaged: Callable[[bytes], bytes], damage: Damage, parallel_xz: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar.xz"
    path.write_bytes(damaged(parallel_xz))
    members: list[Member] = []
    with pytest.raises(ArchiveDamagedError) as raised:
        read(path, members)
    assert raised.value.damage is damage
    assert len(members) >= MEMBERS // 3
    assert not xz_processes()


def test_a_reader_that_stops_early_leaves_no_program_behind(parallel_xz: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.xz"
    path.write_bytes(parallel_xz)
    with DecompressedFile(path) as archive:
        assert archive.read(10)
    assert not xz_processes()


def test_an_xz_does_not_hear_the_signals_that_drain_its_job(tmp_path: Path) -> None:
    path, content = tmp_path / "a.tar.xz", os.urandom(4 << 20)
    command = ["xz", "-0", "--threads=2", "--block-size=64KiB", "--stdout"]
    path.write_bytes(subprocess.run(command, input=content, capture_output=True, check=True).stdout)
    read = b""
    with DecompressedFile(path) as archive:
        while chunk := archive.read(1 << 20):
            read += chunk
            for xz in xz_processes():
                for signal_of_the_job in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                    xz.send_signal(signal_of_the_job)
    assert read == content


def test_an_xz_that_is_killed_says_nothing_about_the_archive(parallel_xz: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.xz"
    path.write_bytes(parallel_xz)
    with DecompressedFile(path) as archive:
        assert archive.read(10)
        for xz in xz_processes():
            xz.kill()
        with pytest.raises(ArchiveUnreadableError, match="SIGKILL"):
            exhaust(archive)
