"""The extract stage: what is read from damaged archives, and from what cannot be read at all."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from archives import COMPRESSORS, Entry, clip_entries, file_entry, tar_bytes, write_archive
from extraction import CHECKSUMMED, ENDINGS, as_ordinary_user, members, read_damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audioctl.errors import ArchiveDamagedError, ArchiveError, ArchiveUnreadableError
from audioctl.states import Damage


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
