"""The extract stage: what is read from good archives, of large members and of sparse files."""

import hashlib
import os
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from archives import COMPRESSORS, clip_entries, file_entry, tar_bytes, write_archive
from extraction import CHECKSUMMED, ENDINGS, as_ordinary_user, batches, members, read_damaged

from audioctl.errors import ArchiveDamagedError, ScratchError
from audioctl.names import ClipNames
from audioctl.pipeline.decompress import DecompressedFile
from audioctl.pipeline.extract import read_archive
from audioctl.states import Damage, Reason


class TestGoodArchives:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_every_member_comes_out_in_order_with_its_content(self, tmp_path: Path, ending: str) -> None:
        entries = clip_entries(10)
        found = members(write_archive(tmp_path / f"a{ending}", entries))
        assert [member.ordinal for member in found] == list(range(10))
        assert [(member.name, member.content) for member in found] == [
            (entry.name, content) for entry, content in entries
        ]
        assert all(
            member.sha256 == hashlib.sha256(content).hexdigest()
            for member, (_, content) in zip(found, entries, strict=True)
        )
        assert found[0].storage_path == "audio/2025/01/25/12_30/0000.opus"

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_the_name_of_the_archive_does_not_matter(self, tmp_path: Path, ending: str) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(3)).rename(tmp_path / "archive.dat")
        assert len(members(path)) == 3

    def test_batches_are_consecutive_and_only_the_last_is_shorter(self, tmp_path: Path) -> None:
        found = list(batches(write_archive(tmp_path / "a.tar", clip_entries(10)), batch_size=4))
        assert [(batch.index, batch.first_ordinal, len(batch.members)) for batch in found] == [
            (0, 0, 4),
            (1, 4, 4),
            (2, 8, 2),
        ]

    def test_a_full_last_batch_is_not_followed_by_an_empty_one(self, tmp_path: Path) -> None:
        found = list(batches(write_archive(tmp_path / "a.tar", clip_entries(8)), batch_size=4))
        assert [len(batch.members) for batch in found] == [4, 4]

    def test_the_digest_of_a_batch_tells_its_members_apart_and_nothing_else(self, tmp_path: Path) -> None:
        entries = clip_entries(3)
        (first,) = batches(write_archive(tmp_path / "a.tar", entries))
        (same,) = batches(write_archive(tmp_path / "b.tar.xz", entries))
        (renamed,) = batches(write_archive(tmp_path / "c.tar", [*entries[:2], file_entry("x.mp3", entries[2][1])]))
        (changed,) = batches(write_archive(tmp_path / "d.tar", [*entries[:2], file_entry(entries[2][0].name, b"x")]))
        assert first.digest == same.digest
        assert len({first.digest, renamed.digest, changed.digest}) == 3

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_an_archive_without_members_is_whole(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"a{ending}"
        path.write_bytes(COMPRESSORS[ending](bytes(1024)))
        assert members(path) == []

    @pytest.mark.parametrize("ending", CHECKSUMMED)
    def test_streams_one_after_the_other_are_one_archive(self, tmp_path: Path, ending: str) -> None:
        content = tar_bytes(clip_entries(5))
        middle = len(content) // 2
        path = tmp_path / f"a{ending}"
        path.write_bytes(COMPRESSORS[ending](content[:middle]) + COMPRESSORS[ending](content[middle:]))
        assert len(members(path)) == 5

    @pytest.mark.parametrize("ending", CHECKSUMMED)
    @pytest.mark.parametrize("padding_bytes", [4, 512, 10_000])
    def test_zeros_after_and_between_streams_are_padding(self, tmp_path: Path, ending: str, padding_bytes: int) -> None:
        content = tar_bytes(clip_entries(5))
        padding = bytes(padding_bytes)
        streams = [COMPRESSORS[ending](part) for part in (content[:5000], content[5000:])]
        path = tmp_path / f"a{ending}"
        path.write_bytes(streams[0] + padding + streams[1] + padding)
        assert len(members(path)) == 5

    def test_a_zstd_archive_may_begin_with_a_skippable_frame(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar.zst", clip_entries(2))
        path.write_bytes(b"\x50\x2a\x4d\x18\x04\x00\x00\x00note" + path.read_bytes())
        assert len(members(path)) == 2

    def test_a_zstd_archive_may_have_a_long_window(self, tmp_path: Path) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=31)
        stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        path = tmp_path / "a.tar.zst"
        path.write_bytes(stream.compress(tar_bytes(clip_entries(2))) + stream.flush())
        assert len(members(path)) == 2

    @pytest.mark.parametrize("compressor", [["xz", "-T2"], ["gzip"], ["bzip2"], ["zstd", "-q"]])
    def test_archives_of_the_usual_programs_are_read(self, tmp_path: Path, compressor: list[str]) -> None:
        folder = tmp_path / "clips"
        folder.mkdir()
        for entry, content in clip_entries(3):
            (folder / entry.name).write_bytes(content)
        tar = subprocess.run(["tar", "-C", tmp_path, "-c", "clips"], check=True, capture_output=True).stdout
        path = tmp_path / "archive"
        path.write_bytes(subprocess.run([*compressor, "-c"], input=tar, check=True, capture_output=True).stdout)
        found = members(path)
        assert [member.reason for member in found] == [Reason.NOT_A_FILE, None, None, None]
        assert {member.name for member in found[1:]} == {"clips/0000.mp3", "clips/0001.mp3", "clips/0002.mp3"}

    def test_a_pipe_is_as_good_as_a_file(self, tmp_path: Path) -> None:
        content = write_archive(tmp_path / "a.tar.xz", clip_entries(3)).read_bytes()
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        with subprocess.Popen(["dd", f"of={fifo}", "status=none"], stdin=subprocess.PIPE) as writer:
            assert writer.stdin is not None
            writer.stdin.write(content)
            writer.stdin.close()
            assert len(members(fifo)) == 3

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_the_compressed_bytes_read_grow_to_the_size_of_the_archive(self, tmp_path: Path, ending: str) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(60, size=50_000))
        seen = []
        with DecompressedFile(path) as archive:
            for _ in read_archive(
                archive,
                names=ClipNames("2025-01-25", "12_30"),
                batch_size=5,
                max_member_size_bytes=1 << 20,
                spool_above_bytes=1 << 20,
                spool_dir=tmp_path,
            ):
                seen.append(archive.compressed_bytes_read)
            assert archive.compressed_size_bytes == archive.compressed_bytes_read == path.stat().st_size
        assert seen == sorted(seen)
        assert 0 < seen[0] < path.stat().st_size / 2

    def test_memory_does_not_grow_with_the_archive(self, tmp_path: Path) -> None:
        def peak_bytes(count: int) -> int:
            path = write_archive(tmp_path / "a.tar.gz", clip_entries(count, size=20_000))
            tracemalloc.start()
            try:
                for _ in batches(path):
                    pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        peak_bytes(4)  # whatever is made once
        assert peak_bytes(800) < peak_bytes(100) + 200_000  # of 14 MB more

    def test_a_large_member_does_not_pass_through_memory(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar.zst", clip_entries(1, size=64 << 20))
        tracemalloc.start()
        try:
            members(path, max_member_size=1 << 30)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak_bytes < 8 << 20

    def test_a_reader_may_stop_early(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar.xz", clip_entries(10))
        reading = batches(path, batch_size=2, spool_above=10)
        first = next(reading)
        reading.close()
        spooled = {member.content for member in first.members}
        assert set(tmp_path.glob("*.member")) == spooled  # the reader's to delete; nothing else is left behind
        assert not [link for link in Path("/proc/self/fd").iterdir() if link.exists() and link.samefile(path)]


class TestLargeMembers:
    def test_a_large_member_is_spooled_under_its_ordinal(self, tmp_path: Path) -> None:
        entries = clip_entries(3, size=3_000_000)
        entries[1] = file_entry("small.mp3", b"sound")
        found = members(write_archive(tmp_path / "a.tar.gz", entries), max_member_size=1 << 30, spool_above=1000)
        assert [member.content for member in found] == [
            tmp_path / "000000.member",
            b"sound",
            tmp_path / "000002.member",
        ]
        assert (tmp_path / "000002.member").read_bytes() == entries[2][1]
        assert found[2].sha256 == hashlib.sha256(entries[2][1]).hexdigest()

    def test_a_member_of_just_the_limit_stays_in_memory(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", [file_entry("a.mp3", bytes(1000)), file_entry("b.mp3", bytes(1001))])
        inside, above = members(path, spool_above=1000)
        assert isinstance(inside.content, bytes)
        assert isinstance(above.content, Path)

    def test_a_member_that_is_too_large_is_read_past(self, tmp_path: Path) -> None:
        entries = [file_entry("long.wav", bytes(5000)), file_entry("a.mp3", b"sound")]
        long, clip = members(write_archive(tmp_path / "a.tar.xz", entries), max_member_size=4999, spool_above=10)
        assert (long.reason, long.content, long.size_bytes) == (Reason.TOO_LARGE, None, 5000)
        assert long.detail == "5000 bytes; the limit is 4999"
        assert clip.content == b"sound"
        assert not list(tmp_path.glob("*.member"))

    def test_a_full_scratch_disk_is_told_apart_from_a_bad_archive(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", [file_entry("long.wav", bytes(5000))])
        (tmp_path / "000000.member").symlink_to("/dev/full")
        with pytest.raises(ScratchError, match="No space left on device") as caught:
            members(path, spool_above=10)
        assert caught.value.hint
        assert not list(tmp_path.glob("*.member"))

    def test_a_scratch_folder_that_may_not_be_written_is_named(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", [file_entry("long.wav", bytes(5000))])
        tmp_path.chmod(0o500)
        with DecompressedFile(path) as archive, as_ordinary_user():
            reading = read_archive(
                archive,
                names=ClipNames("2025-01-25", "12_30"),
                batch_size=1,
                max_member_size_bytes=1 << 20,
                spool_above_bytes=10,
                spool_dir=tmp_path,
            )
            with pytest.raises(ScratchError, match="Permission denied"):
                next(reading)

    def test_nothing_stays_on_scratch_of_a_batch_that_was_not_handed_out(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", clip_entries(3, size=5000))
        (tmp_path / "000002.member").symlink_to("/dev/full")
        with pytest.raises(ScratchError):
            members(path, spool_above=10)
        assert not list(tmp_path.glob("*.member"))

    def test_the_content_of_a_member_that_is_cut_off_does_not_stay_on_scratch(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", [file_entry("long.wav", bytes(3_000_000))])
        os.truncate(path, 2_000_000)
        with pytest.raises(ArchiveDamagedError):
            members(path, max_member_size=1 << 30, spool_above=10)
        assert not list(tmp_path.glob("*.member"))


class TestSparseFiles:
    @pytest.mark.parametrize(
        "tar_format",
        ["--format=gnu", *(f"--format=posix --sparse-version={version}" for version in ("0.0", "0.1", "1.0"))],
    )
    def test_the_holes_of_a_sparse_file_are_zeros(self, tmp_path: Path, tar_format: str) -> None:
        source = tmp_path / "holes.wav"
        with source.open("wb") as file:
            file.write(b"head")
            file.seek(1 << 20)
            file.write(b"tail")
            file.truncate(3 << 20)
        command = ["tar", "-C", str(tmp_path), *tar_format.split(), "-S", "-c", "holes.wav"]
        path = tmp_path / "a.tar"
        path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
        assert path.stat().st_size < 1 << 20
        (member,) = members(path, max_member_size=1 << 30, spool_above=1 << 30)
        assert member.content == source.read_bytes()

    def test_a_sparse_map_that_runs_backwards_is_damage(self, tmp_path: Path) -> None:
        entry, content = file_entry("holes.wav", bytes(1024))
        entry.pax_headers = {"GNU.sparse.map": "4096,512,0,512", "GNU.sparse.size": "8192"}
        path = tmp_path / "a.tar"
        path.write_bytes(tar_bytes([(entry, content)], tarfile.PAX_FORMAT))
        assert read_damaged(path).damage is Damage.CORRUPT
