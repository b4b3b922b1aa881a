"""Archives made to fill a machine: each is given up at a limit, with its head kept and in memory of constant size."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import zstandard
from archives import Entry, clip_entries, file_entry, special_entry, tar_bytes, write_archive
from extraction import Reading, batches, read_damaged
from workspace import Workspace

from audioctl.cli.process import exit_code_for
from audioctl.clips import SAMPLE_RATE
from audioctl.pipeline import extract
from audioctl.pipeline.decompress import DecompressionLimits
from audioctl.states import ArchiveState, ClipState, Damage, ExitCode, Reason

MEGABYTE = 1 << 20
ZEROS = bytes(MEGABYTE)


def parallel_xz(content: bytes) -> bytes:
    command = ["xz", "-0", "--threads=2", "--block-size=1MiB", "--stdout"]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
    "parallel xz": parallel_xz,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}

TIGHT = DecompressionLimits(ratio=100, allowance_bytes=4 * MEGABYTE)


def zstd_bomb(path: Path, header: bytes, megabytes: int) -> Path:
    """``header``, then zeros without end, or nearly."""
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as writer:
        writer.write(header)
        for _ in range(megabytes):
            writer.write(ZEROS)
    return path


def header_of(name: str, size_bytes: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size_bytes, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


@contextmanager
def peak_memory_below(size_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < size_bytes


class TestSize:
    @pytest.mark.parametrize("compressor", COMPRESSORS)
    def test_a_bomb_is_too_large_and_what_comes_before_it_is_kept(self, compressor: str, tmp_path: Path) -> None:
        entries = [*clip_entries(3), *(file_entry(f"bomb{number}.mp3", ZEROS) for number in range(16))]
        path = tmp_path / "a.tar"
        path.write_bytes(COMPRESSORS[compressor](tar_bytes(entries)))
        reading = read_damaged(path, limits=TIGHT)
        assert reading.damage is Damage.TOO_LARGE
        assert [member.content for member in reading.members[:3]] == [content for _, content in entries[:3]]
        assert 3 <= len(reading.members) <= 7

    def test_the_error_names_the_limit_and_how_to_raise_it(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "it's.tar.gz", [file_entry(f"{number}.mp3", ZEROS) for number in range(16)])
        error = read_damaged(path, limits=TIGHT).error
        assert error is not None
        assert f"max_compression_ratio, 100 times its {path.stat().st_size} bytes" in error.message
        assert "3 members were read" in error.message
        assert error.hint is not None
        assert "[extract]" in error.hint
        before = path.stat().st_mtime_ns
        subprocess.run(error.hint.split("`")[1], shell=True, check=True)
        assert path.stat().st_mtime_ns > before

    def test_what_compresses_well_is_let_through_up_to_the_allowance(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar.xz", [file_entry(f"{number}.mp3", ZEROS) for number in range(3)])
        assert path.stat().st_size * TIGHT.ratio < 3 * MEGABYTE
        assert read_damaged(path, limits=TIGHT).damage is None

    def test_what_compresses_badly_may_be_of_any_size(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar.gz", clip_entries(20, size=500_000))
        limits = DecompressionLimits(ratio=2, allowance_bytes=1)
        assert read_damaged(path, limits=limits).damage is None

    def test_the_size_is_limited_whatever_the_ratio(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", clip_entries(20, size=500_000))
        reading = read_damaged(path, limits=DecompressionLimits(size_bytes=5 * MEGABYTE))
        assert (reading.damage, len(reading.members)) == (Damage.TOO_LARGE, 10)
        assert "max_archive_size" in str(reading.error)

    def test_a_pipe_is_measured_by_what_has_come_out_of_it(self, tmp_path: Path) -> None:
        content = gzip.compress(tar_bytes(clip_entries(20, size=2_000)))
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        with subprocess.Popen(["dd", f"of={fifo}", "status=none"], stdin=subprocess.PIPE) as writer:
            assert writer.stdin is not None
            writer.stdin.write(content)
            writer.stdin.close()
            assert read_damaged(fifo, limits=DecompressionLimits(ratio=2, allowance_bytes=1)).damage is None

    def test_a_bomb_behind_the_end_marker_is_one_too(self, tmp_path: Path) -> None:
        path = zstd_bomb(tmp_path / "a.tar.zst", tar_bytes(clip_entries(3)), megabytes=300)
        reading = read_damaged(path, limits=TIGHT)
        assert (reading.damage, len(reading.members)) == (Damage.TOO_LARGE, 3)


class TestMemory:
    """A zstd decompressor makes up to 128 MiB of the 4 KiB that it is given at once; more must not be held."""

    MOST = 200 * MEGABYTE

    @pytest.mark.parametrize(
        "kind",
        [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE],
        ids=["name", "link target", "extended header", "global header"],
    )
    def test_a_header_of_hundreds_of_megabytes_is_not_read(self, kind: bytes, tmp_path: Path) -> None:
        first = tar_bytes(clip_entries(1, size=1024))[:1536]
        path = zstd_bomb(tmp_path / "a.tar.zst", first + header_of("long", 600 * MEGABYTE, kind), megabytes=600)
        with peak_memory_below(self.MOST):
            reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CORRUPT, 1)

    def test_a_member_of_hundreds_of_megabytes_passes_through(self, tmp_path: Path) -> None:
        path = zstd_bomb(tmp_path / "a.tar.zst", header_of("a.mp3", 600 * MEGABYTE), megabytes=601)
        with peak_memory_below(self.MOST):
            reading = read_damaged(path)
        assert (reading.damage, reading.members[0].reason) == (None, Reason.TOO_LARGE)

    def test_the_map_of_a_sparse_file_has_an_end(self, tmp_path: Path) -> None:
        header = bytearray(header_of("holes.wav", 0, tarfile.GNUTYPE_SPARSE))
        header[482] = 1  # more of the map follows, and more
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        block = (b"%011o\0%011o\0" % (1, 1)) * 21 + b"\x01"
        path = tmp_path / "a.tar.gz"
        path.write_bytes(gzip.compress(bytes(header) + block.ljust(512, b"\0") * 100_000, compresslevel=1))
        with peak_memory_below(40 * MEGABYTE):
            assert read_damaged(path).damage in (Damage.CORRUPT, Damage.NOT_AN_ARCHIVE)

    def test_a_batch_of_large_members_is_spooled_from_some_size_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(extract, "_MOST_IN_MEMORY_BYTES", 10_000)
        path = write_archive(tmp_path / "a.tar", clip_entries(8, size=3_000))
        in_memory = [[isinstance(member.content, bytes) for member in batch.members] for batch in batches(path)]
        assert in_memory == [[True, True, True, False]] * 2


class TestMembers:
    @pytest.mark.parametrize("count", [10, 11])
    def test_an_archive_has_at_most_so_many_members(self, count: int, tmp_path: Path) -> None:
        entries: list[Entry] = [special_entry("folder", tarfile.DIRTYPE), *clip_entries(count - 1)]
        reading = read_damaged(write_archive(tmp_path / "a.tar.xz", entries), max_members=10)
        assert (reading.damage, len(reading.members)) == (Damage.TOO_LARGE if count > 10 else None, 10)
        if reading.error is not None:
            assert "more than max_members, 10 members" in reading.error.message


class TestHeaders:
    def test_headers_of_headers_have_an_end(self, tmp_path: Path) -> None:
        chain = (header_of("././@LongLink", 5, tarfile.GNUTYPE_LONGNAME) + b"a.mp3".ljust(512, b"\0")) * 1000
        assert _read(tmp_path, chain + tar_bytes(clip_entries(1))).damage is Damage.NOT_AN_ARCHIVE
        assert _read(tmp_path, chain[: 10 * 1024] + tar_bytes(clip_entries(1))).damage is None

    @pytest.mark.parametrize(
        "records",
        [b"1 " * 400_000 + b"a=b\n", b"1" * 900_000, b"1 a=b\n", b"0 a=b\n", b"99 a=b\n", b"6 a=b\t", b"5 a\n"],
        ids=["short records", "digits", "one", "none", "beyond the end", "without a newline", "without a value"],
    )
    def test_extended_headers_that_are_none_are_damage_at_once(self, records: bytes, tmp_path: Path) -> None:
        content = header_of("x", len(records), tarfile.XHDTYPE) + records + bytes(-len(records) % 512)
        assert _read(tmp_path, content + tar_bytes(clip_entries(1))).damage is Damage.NOT_AN_ARCHIVE
        assert _read(tmp_path, tar_bytes(clip_entries(1))[:2560] + content).damage is Damage.CORRUPT

    def test_headers_for_all_members_have_an_end(self, tmp_path: Path) -> None:
        clip = tar_bytes(clip_entries(1, size=1024))

        def archive(count: int) -> bytes:
            lasting = [tarfile.TarInfo.create_pax_global_header({f"key{n}": "x" * 400}) for n in range(count)]
            return b"".join(header + clip[:1536] for header in lasting) + clip[1536:]

        assert _read(tmp_path, archive(50)).damage is None
        assert _read(tmp_path, archive(400)).damage is Damage.CORRUPT


class TestSparseFiles:
    """A hole costs nothing in an archive, and is read as zeros."""

    @staticmethod
    def sparse(size_bytes: int, name: str = "holes.wav", holes: str = "0,512") -> Entry:
        entry, content = file_entry(name, bytes(512))
        entry.pax_headers = {"GNU.sparse.map": holes, "GNU.sparse.size": str(size_bytes)}
        return entry, content

    def test_a_hole_of_exabytes_is_a_clip_that_is_too_large(self, tmp_path: Path) -> None:
        content = tar_bytes([self.sparse(1 << 62), *clip_entries(2)], tarfile.PAX_FORMAT)
        reading = _read(tmp_path, content)
        assert (reading.damage, [member.reason for member in reading.members]) == (None, [Reason.TOO_LARGE, None, None])

    def test_many_holes_are_counted_as_what_they_become(self, tmp_path: Path) -> None:
        entries = [self.sparse(MEGABYTE, f"{number}.wav") for number in range(20)]
        path = tmp_path / "a.tar"
        path.write_bytes(tar_bytes(entries, tarfile.PAX_FORMAT))
        reading = read_damaged(path, limits=TIGHT)
        assert (reading.damage, len(reading.members)) == (Damage.TOO_LARGE, 4)

    def test_a_file_in_too_many_pieces_is_a_clip_that_is_too_large(self, tmp_path: Path) -> None:
        holes = ",".join(f"{2 * number},1" for number in range(12_000))
        entry, _ = self.sparse(24_000, holes=holes)
        entry.size = 12_000
        content = tar_bytes([(entry, bytes(12_000)), *clip_entries(2)], tarfile.PAX_FORMAT)
        reading = _read(tmp_path, content)
        assert (reading.damage, [member.reason for member in reading.members]) == (None, [Reason.TOO_LARGE, None, None])


class TestWholeJob:
    def test_an_archive_that_is_too_large_is_damaged_until_the_limit_is_raised(self, workspace: Workspace) -> None:
        workspace.write_clips(12)
        said = workspace.said
        workspace.configure("extract", max_members=8)
        workspace.said = dict(list(said.items())[:8])
        progress = workspace.process()
        assert exit_code_for(progress) == ExitCode.LOOK
        assert progress.state(lease_is_held=False) == (ArchiveState.DAMAGED, "too_large")
        workspace.assert_all_was_heard()
        workspace.configure("extract", max_members=12)
        os.utime(workspace.archive)
        workspace.said = said
        assert exit_code_for(workspace.process()) == ExitCode.DONE
        workspace.assert_all_was_heard()

    def test_the_limits_of_the_settings_are_those_of_the_job(self, workspace: Workspace) -> None:
        workspace.write_clips(12)
        workspace.configure("extract", max_archive_size=workspace.archive.stat().st_size // 2)
        workspace.process()
        assert workspace.progress.state(lease_is_held=False) == (ArchiveState.DAMAGED, "too_large")

    def test_a_small_file_that_lasts_for_hours_is_too_large(self, workspace: Workspace) -> None:
        night = io.BytesIO()
        with soundfile.SoundFile(night, "w", SAMPLE_RATE, channels=1, format="FLAC") as file:
            for _ in range(60):
                file.write(np.zeros(60 * SAMPLE_RATE, np.int16))
        assert len(night.getvalue()) < MEGABYTE
        workspace.configure("convert", max_clip_duration=600)
        workspace.write_between_clips(file_entry("night.flac", night.getvalue()))
        assert exit_code_for(workspace.process()) == ExitCode.DONE
        record = workspace.records()["night.flac"]
        assert (record.state, record.reason) == (ClipState.REJECTED, Reason.TOO_LARGE)
        assert record.detail == "it lasts more than 600 s, the limit of max_clip_duration"
        workspace.assert_all_was_heard()


def _read(folder: Path, content: bytes) -> Reading:
    path = folder / "a.tar"
    path.write_bytes(content)
    return read_damaged(path)
