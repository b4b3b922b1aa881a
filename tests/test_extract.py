"""The extract stage: what is read from good archives, from hostile ones and from damaged ones."""

import hashlib
import io
import os
import subprocess
import tarfile
import tracemalloc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from archives import COMPRESSORS, Entry, clip_entries, file_entry, special_entry, tar_bytes, write_archive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audioctl.clips import Member, MemberBatch
from audioctl.errors import ArchiveDamagedError, ArchiveError, ArchiveUnreadableError, ScratchError
from audioctl.names import ClipNames
from audioctl.pipeline.decompress import DecompressedFile
from audioctl.pipeline.extract import read_archive
from audioctl.states import Damage, Reason

ENDINGS = list(COMPRESSORS)
CHECKSUMMED = [ending for ending in ENDINGS if ending != ".tar"]


def batches(
    path: Path, *, batch_size: int = 4, max_member_size: int = 1 << 20, spool_above: int = 1 << 20
) -> Generator[MemberBatch]:
    """Reads ``path`` with its own folder as scratch."""
    with DecompressedFile(path) as archive:
        yield from read_archive(
            archive,
            names=ClipNames("2025-01-25", "12_30"),
            batch_size=batch_size,
            max_member_size_bytes=max_member_size,
            spool_above_bytes=spool_above,
            spool_dir=path.parent,
        )


def members(path: Path, **limits: int) -> list[Member]:
    return [member for batch in batches(path, **limits) for member in batch.members]


@dataclass
class Reading:
    """What came out of an archive, and the damage that ended it."""

    members: list[Member] = field(default_factory=list)
    error: ArchiveDamagedError | None = None

    @property
    def damage(self) -> Damage | None:
        return None if self.error is None else self.error.damage


def read_damaged(path: Path) -> Reading:
    reading = Reading()
    try:
        for batch in batches(path):
            reading.members += batch.members
    except ArchiveDamagedError as error:
        reading.error = error
    return reading


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read everything; tests of permissions need someone who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


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


NAMES = {
    "in nested folders": "a/b/c/d.mp3",
    "with spaces": " two  words .mp3",
    "with quotes": 'it\'s "quoted" `now` $HOME.mp3',
    "with a newline": "two\nlines.mp3",
    "of other alphabets": "Zürich/录音.mp3",
    "with an option's dash": "--help.mp3",
    "with a backslash": "a\\xff.mp3",
    "of 255 bytes": "x" * 251 + ".mp3",
    "too long for a file system": "y" * 400 + ".mp3",
}


class TestNamesAndKinds:
    @pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
    @pytest.mark.parametrize("raw", NAMES.values(), ids=NAMES.keys())
    def test_a_name_is_read_as_it_is(self, tmp_path: Path, raw: str, tar_format: int) -> None:
        path = tmp_path / "a.tar"
        path.write_bytes(tar_bytes([file_entry(raw, b"sound")], tar_format))
        (member,) = members(path)
        assert (member.name.replace(r"\x5c", "\\"), member.content, member.reason) == (raw, b"sound", None)

    @pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
    def test_names_that_are_not_utf8_stay_different(self, tmp_path: Path, tar_format: int) -> None:
        path = tmp_path / "a.tar"
        names = [b"caf\xe9.mp3", b"caf\xe8.mp3", rb"caf\xe9.mp3"]
        path.write_bytes(tar_bytes([file_entry(name, b"sound") for name in names], tar_format))
        assert [member.name for member in members(path)] == [r"caf\xe9.mp3", r"caf\xe8.mp3", r"caf\x5cxe9.mp3"]

    def test_a_name_that_stands_twice_is_two_clips(self, tmp_path: Path) -> None:
        entries = [file_entry(name, name.encode()) for name in ("a/x.mp3", "b/x.mp3", "a/x.mp3", "./a/x.mp3")]
        found = members(write_archive(tmp_path / "a.tar", entries))
        assert [member.name for member in found] == ["a/x.mp3", "b/x.mp3", "a/x.mp3~2", "a/x.mp3~3"]
        assert len({member.storage_path for member in found}) == 4

    def test_an_absolute_name_loses_its_slash(self, tmp_path: Path) -> None:
        (member,) = members(write_archive(tmp_path / "a.tar", [file_entry("/etc/passwd", b"sound")]))
        assert (member.name, member.reason) == ("etc/passwd", None)

    @pytest.mark.parametrize("raw", ["../x.mp3", "a/../../x.mp3", "/../x.mp3", ".."])
    def test_a_name_that_leads_out_is_refused_and_its_content_dropped(self, tmp_path: Path, raw: str) -> None:
        folder = tmp_path / "inside"
        folder.mkdir()
        path = write_archive(folder / "a.tar", [file_entry(raw, b"sound"), file_entry("y.mp3", b"more")])
        unsafe, good = members(path, spool_above=1)
        assert (unsafe.reason, unsafe.name, unsafe.storage_path, unsafe.content) == (
            Reason.UNSAFE_NAME,
            raw,
            "",
            None,
        )
        assert good.reason is None
        assert {child.name for child in folder.iterdir()} == {"a.tar", "000001.member"}
        assert {child.name for child in tmp_path.iterdir()} == {"inside"}

    def test_a_name_with_a_nul_character_is_refused(self, tmp_path: Path) -> None:
        entry, content = file_entry("x.mp3", b"sound")
        entry.pax_headers = {"path": "a\0b.mp3"}
        path = tmp_path / "a.tar"
        path.write_bytes(tar_bytes([(entry, content)], tarfile.PAX_FORMAT))
        (member,) = members(path)
        assert (member.reason, member.name) == (Reason.UNSAFE_NAME, r"a\x00b.mp3")

    @pytest.mark.parametrize(
        ("kind", "detail"),
        [
            (tarfile.DIRTYPE, "a directory"),
            (tarfile.SYMTYPE, "a symbolic link"),
            (tarfile.LNKTYPE, "a hard link"),
            (tarfile.CHRTYPE, "a character device"),
            (tarfile.BLKTYPE, "a block device"),
            (tarfile.FIFOTYPE, "a fifo"),
            (b"V", "a tar entry of type b'V'"),
        ],
    )
    def test_what_is_no_file_is_skipped_and_takes_no_name(self, tmp_path: Path, kind: bytes, detail: str) -> None:
        entries = [special_entry("x.mp3", kind, "/etc/passwd"), file_entry("x.mp3", b"sound")]
        special, clip = members(write_archive(tmp_path / "a.tar", entries))
        assert (special.ordinal, special.name, special.storage_path, special.content) == (0, "x.mp3", "", None)
        assert (special.reason, special.detail) == (Reason.NOT_A_FILE, detail)
        assert (clip.ordinal, clip.name, clip.reason) == (1, "x.mp3", None)

    def test_a_link_that_leads_out_is_only_skipped(self, tmp_path: Path) -> None:
        entries = [special_entry("../../x", tarfile.SYMTYPE, "/etc"), file_entry("a.mp3", b"sound")]
        assert [member.reason for member in members(write_archive(tmp_path / "a.tar", entries))] == [
            Reason.NOT_A_FILE,
            None,
        ]

    def test_a_file_without_content_is_empty(self, tmp_path: Path) -> None:
        (member,) = members(write_archive(tmp_path / "a.tar", [file_entry("a.mp3", b"")]))
        assert (member.reason, member.content, member.size_bytes) == (Reason.EMPTY, None, 0)


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


def cut(path: Path, size: int) -> Path:
    os.truncate(path, size)
    return path


def flip(path: Path, offset: int) -> Path:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)
    return path


def tar_with_bad_header(entries: list[Entry], bad: int) -> bytes:
    """The checksum in the header of member ``bad`` is wrong."""
    content = bytearray(tar_bytes(entries))
    header = content.index(entries[bad][0].name.encode())
    content[header + 148] ^= 1
    return bytes(content)


class TestDamage:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_tar_cut_at_a_member_boundary_is_cut_off(self, tmp_path: Path, ending: str) -> None:
        entries = clip_entries(10, size=1024)
        path = tmp_path / f"a{ending}"
        path.write_bytes(COMPRESSORS[ending](tar_bytes(entries)[: 5 * (512 + 1024)]))
        reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CUT_OFF, 5)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_half_an_end_marker_is_not_enough(self, tmp_path: Path, ending: str) -> None:
        entries = clip_entries(3, size=1024)
        path = tmp_path / f"a{ending}"
        path.write_bytes(COMPRESSORS[ending](tar_bytes(entries)[: 3 * (512 + 1024) + 512]))
        reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CUT_OFF, 3)

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("bad", [1, 5, 9], ids=["early", "middle", "last"])
    def test_a_bad_header_is_corrupt(self, tmp_path: Path, ending: str, bad: int) -> None:
        path = tmp_path / f"a{ending}"
        path.write_bytes(COMPRESSORS[ending](tar_with_bad_header(clip_entries(10), bad)))
        reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CORRUPT, bad)

    @pytest.mark.parametrize("content", [b"", bytes(1000)], ids=["no content", "zeros"])
    def test_a_bad_last_header_is_corrupt_even_if_only_zeros_follow(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.tar"
        path.write_bytes(tar_with_bad_header([*clip_entries(3), file_entry("last.mp3", content)], 3))
        reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CORRUPT, 3)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_block_of_zeros_in_the_middle_is_corrupt(self, tmp_path: Path, ending: str) -> None:
        content = bytearray(tar_bytes(clip_entries(10, size=1024)))
        content[5 * 1536 : 5 * 1536 + 1024] = bytes(1024)
        path = tmp_path / f"a{ending}"
        path.write_bytes(COMPRESSORS[ending](bytes(content)))
        reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CORRUPT, 5)

    @pytest.mark.parametrize("ending", CHECKSUMMED)
    @pytest.mark.parametrize("missing_bytes", [1, 4])
    def test_a_missing_trailer_is_cut_off_though_every_member_is_there(
        self, tmp_path: Path, ending: str, missing_bytes: int
    ) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(10))
        reading = read_damaged(cut(path, path.stat().st_size - missing_bytes))
        assert (reading.damage, len(reading.members)) == (Damage.CUT_OFF, 10)

    @pytest.mark.parametrize("ending", [".tar.gz", ".tar.xz"])
    def test_the_last_six_bytes_are_missed(self, tmp_path: Path, ending: str) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(10))
        reading = read_damaged(cut(path, path.stat().st_size - 6))
        assert (reading.damage, len(reading.members)) == (Damage.CUT_OFF, 10)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_an_archive_cut_at_60_percent_keeps_its_head(self, tmp_path: Path, ending: str) -> None:
        entries = clip_entries(100, size=50_000)
        path = write_archive(tmp_path / f"a{ending}", entries)
        reading = read_damaged(cut(path, path.stat().st_size * 6 // 10))
        assert reading.damage is Damage.CUT_OFF
        assert 40 <= len(reading.members) <= 60  # bzip2: in whole blocks of 900 kB
        assert [member.content for member in reading.members] == [
            content for _, content in entries[: len(reading.members)]
        ]

    @pytest.mark.parametrize("ending", CHECKSUMMED)
    def test_a_flipped_byte_in_the_data_is_corrupt(self, tmp_path: Path, ending: str) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(100, size=20_000))
        reading = read_damaged(flip(path, path.stat().st_size // 2))
        assert reading.damage is Damage.CORRUPT

    @pytest.mark.parametrize("ending", CHECKSUMMED)
    def test_rubbish_behind_the_compressed_data_is_corrupt(self, tmp_path: Path, ending: str) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(3))
        path.write_bytes(path.read_bytes() + b"<html>502 Bad Gateway</html>")
        reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CORRUPT, 3)

    def test_a_second_tar_behind_the_first_is_not_passed_over_in_silence(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar"
        path.write_bytes(tar_bytes(clip_entries(3)) * 2)
        reading = read_damaged(path)
        assert (reading.damage, len(reading.members)) == (Damage.CORRUPT, 3)

    def test_a_long_tail_of_zeros_is_a_transfer_that_stopped(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", clip_entries(10, size=20_000))
        os.truncate(cut(path, 100_000), 10_000_000)
        reading = read_damaged(path)
        assert reading.damage is Damage.CORRUPT
        assert "zeros" in str(reading.error)

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize(
        "content", [b"<html>404</html>", b"{}\n" * 1000, bytes(range(256)) * 8], ids=["html", "json", "binary"]
    )
    def test_what_is_no_tar_is_not_an_archive(self, tmp_path: Path, ending: str, content: bytes) -> None:
        path = tmp_path / f"a{ending}"
        path.write_bytes(COMPRESSORS[ending](content))
        assert read_damaged(path).damage is Damage.NOT_AN_ARCHIVE

    def test_a_file_of_no_bytes_is_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tar.xz"
        path.touch()
        reading = read_damaged(path)
        assert reading.damage is Damage.EMPTY

    def test_a_size_below_zero_is_corrupt(self, tmp_path: Path) -> None:
        entry, _ = file_entry("a.mp3", b"")
        entry.size = -512
        path = tmp_path / "a.tar"
        path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + tar_bytes(clip_entries(1)))
        assert read_damaged(path).damage in (Damage.CORRUPT, Damage.NOT_AN_ARCHIVE)

    def test_the_error_names_the_file_and_what_was_read_and_says_what_to_do(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", clip_entries(10, size=1024))
        error = read_damaged(cut(path, 5 * 1536)).error
        assert error is not None
        assert f"{path} is cut off after 5 whole members" in error.message
        assert error.hint is not None
        assert "audioctl resume" in error.hint

    @given(ending=st.sampled_from(CHECKSUMMED), position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_flipped_bit_is_noticed_or_changes_nothing(
        self, tmp_path: Path, ending: str, position: float, bit: int
    ) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(5, size=500))
        whole = members(path)
        content = bytearray(path.read_bytes())
        content[int(position * len(content))] ^= 1 << bit
        path.write_bytes(content)
        reading = read_damaged(path)
        assert reading.error is not None or reading.members == whole

    @given(
        tar_format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
        damage=st.lists(st.tuples(st.integers(0, 20_000), st.binary(min_size=1, max_size=8)), min_size=1),
    )
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_damage_ends_in_any_other_error(
        self, tmp_path: Path, tar_format: int, damage: list[tuple[int, bytes]]
    ) -> None:
        stream = io.BytesIO(tar_bytes([file_entry("ä" * 120, b"x" * 600), *clip_entries(3, size=500)], tar_format))
        for offset, rubbish in damage:
            stream.seek(offset)
            stream.write(rubbish)
        path = tmp_path / "a.tar"
        path.write_bytes(stream.getvalue())
        read_damaged(path)

    @given(ending=st.sampled_from(ENDINGS), part=st.floats(0, 1, exclude_max=True))
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_cut_anywhere_is_noticed_and_what_comes_out_is_the_head(
        self, tmp_path: Path, ending: str, part: float
    ) -> None:
        path = write_archive(tmp_path / f"a{ending}", clip_entries(5, size=500))
        whole = members(path)
        end_of_tar = 5 * 1024 + 1024  # what follows in a plain tar is padding
        size = end_of_tar if ending == ".tar" else path.stat().st_size
        reading = read_damaged(cut(path, int(part * size)))
        assert reading.error is not None
        assert reading.members == whole[: len(reading.members)]


class TestUnreadable:
    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveUnreadableError, match=r"gone\.tar\.xz: No such file") as caught:
            members(tmp_path / "gone.tar.xz")
        assert caught.value.hint

    def test_a_folder_is_no_archive(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveUnreadableError, match="Is a directory") as caught:
            members(tmp_path)
        assert "submit-day" in (caught.value.hint or "")

    def test_a_file_without_permission_is_named(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", clip_entries(1))
        path.chmod(0)
        with as_ordinary_user(), pytest.raises(ArchiveUnreadableError, match="Permission denied"):
            members(path)

    def test_an_input_output_error_is_no_damage(self) -> None:
        # The first page of a process is never mapped: reading it is EIO.
        with pytest.raises(ArchiveUnreadableError, match="Input/output error"):
            members(Path("/proc/self/mem"))

    def test_both_are_archive_errors(self) -> None:
        assert issubclass(ArchiveUnreadableError, ArchiveError)
        assert issubclass(ArchiveDamagedError, ArchiveError)
