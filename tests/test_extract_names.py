"""The extract stage: the names and kinds of members, hostile ones too."""

import tarfile
from pathlib import Path

import pytest
from archives import file_entry, special_entry, tar_bytes, write_archive
from extraction import members

from audioctl.states import Reason

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
