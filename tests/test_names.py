"""Names of clips and of their files: different, stable, and inside their folder, whatever the archive says."""

import tarfile
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioctl.names import (
    LONGEST_COMPONENT_BYTES,
    LONGEST_PATH_BYTES,
    ClipNames,
    UnsafeNameError,
    base_name,
    clip_path,
    readable,
    storage_path,
)

DAY, SLOT = "2025-01-25", "12_30"
FOLDER = "audio/2025/01/25/12_30"

# Names as tarfile gives them: bytes that are not UTF-8 become surrogate escapes.
any_bytes = st.binary(min_size=1, max_size=300).map(lambda raw: raw.decode(errors="surrogateescape"))
# What is likely to collide: few letters, endings that are dropped, parts that are resolved, numbers that are added.
parts = st.sampled_from(["a", "A", ".", "..", "", "a.mp3", "a.opus", "a~2", "a.mp3~2", "\\xff", "\udcff", "b" * 300])
tricky = st.lists(parts, min_size=1, max_size=4).map("/".join)
raw_names = any_bytes | tricky


def assign(raws: list[str]) -> list[tuple[str, str]]:
    """The names and storage paths of the clips among ``raws``."""
    names = ClipNames(DAY, SLOT)
    assigned = []
    for raw in raws:
        try:
            assigned.append(names.assign(raw))
        except UnsafeNameError:
            continue
    return assigned


class TestReadable:
    @given(raw_names, raw_names)
    def test_two_different_names_stay_different(self, one: str, other: str) -> None:
        assert (readable(one) == readable(other)) == (one == other)

    @given(raw_names)
    def test_the_result_is_valid_unicode(self, raw: str) -> None:
        readable(raw).encode()

    @given(st.text(alphabet=st.characters(exclude_characters="\\", exclude_categories=["Cs"])))
    def test_a_name_in_utf8_is_left_as_it_is(self, raw: str) -> None:
        assert readable(raw) == raw

    def test_bytes_are_written_as_escapes_and_escapes_are_told_from_them(self) -> None:
        assert readable("caf\udce9") == r"caf\xe9"
        assert readable(r"caf\xe9") == r"caf\x5cxe9"


class TestClipPath:
    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ("a.mp3", "a.mp3"),
            ("./a.mp3", "a.mp3"),
            ("/a//b/./c.mp3", "a/b/c.mp3"),
            ("a/../b.mp3", "b.mp3"),
            ("..a/b..", "..a/b.."),
            ("two\nlines", "two\nlines"),
        ],
    )
    def test_it_is_the_path_without_what_means_nothing(self, raw: str, expected: str) -> None:
        assert clip_path(raw) == expected

    @pytest.mark.parametrize("raw", ["..", "../a", "a/../../b", "/..", "", ".", "./", "a/..", "a\0b"])
    def test_a_name_that_cannot_be_kept_is_unsafe(self, raw: str) -> None:
        with pytest.raises(UnsafeNameError):
            clip_path(raw)


class TestStoragePath:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a.mp3", "a.opus"),
            ("sub/a.mp3", "sub/a.opus"),
            ("a.wav", "a.wav.opus"),
            ("a.MP3", "a.MP3.opus"),
            ("a", "a.opus"),
            ("a.mp3~2", "a.mp3~2.opus"),
        ],
    )
    def test_the_ending_mp3_becomes_opus_and_others_are_kept(self, name: str, expected: str) -> None:
        assert storage_path(DAY, SLOT, name) == f"{FOLDER}/{expected}"

    def test_names_that_differ_only_behind_the_cut_stay_different(self) -> None:
        paths = {storage_path(DAY, SLOT, "x" * 300 + ending) for ending in ("a.mp3", "b.mp3", "a.wav")}
        assert len(paths) == 3

    def test_a_deep_path_becomes_one_name(self) -> None:
        path = storage_path(DAY, SLOT, "/".join(["deep"] * 1000))
        assert path.count("/") == FOLDER.count("/") + 1


class TestClipNames:
    @given(st.lists(raw_names, max_size=30))
    def test_no_two_members_share_a_name_or_a_storage_path(self, raws: list[str]) -> None:
        assigned = assign(raws)
        assert len({name for name, _ in assigned}) == len(assigned)
        assert len({path for _, path in assigned}) == len(assigned)

    @given(st.lists(raw_names, max_size=30))
    def test_every_storage_path_stays_in_its_folder_and_within_the_limits(self, raws: list[str]) -> None:
        for _, path in assign(raws):
            assert path.startswith(f"{FOLDER}/")
            assert path.endswith(".opus")
            assert not {"", ".", ".."} & set(path.split("/"))
            assert "\0" not in path
            assert len(path.encode()) <= LONGEST_PATH_BYTES
            # rsync's temporary name, NAME with a dot before it and seven characters behind, has to fit as well.
            assert all(len(part.encode()) + 8 <= LONGEST_COMPONENT_BYTES for part in PurePosixPath(path).parts)

    @given(st.lists(raw_names, max_size=30))
    def test_another_reading_gives_the_same_names(self, raws: list[str]) -> None:
        assert assign(raws) == assign(raws)

    @given(st.lists(raw_names, max_size=30))
    def test_a_cut_archive_gives_the_same_names_to_what_is_left(self, raws: list[str]) -> None:
        head = assign(raws[: len(raws) // 2])
        assert assign(raws)[: len(head)] == head

    def test_the_second_of_two_equal_names_is_numbered(self) -> None:
        assert [name for name, _ in assign(["a.mp3", "a.mp3", "./a.mp3"])] == ["a.mp3", "a.mp3~2", "a.mp3~3"]

    def test_a_number_that_is_taken_is_passed_over(self) -> None:
        assert [name for name, _ in assign(["a.mp3~2", "a.mp3", "a.mp3"])] == ["a.mp3~2", "a.mp3", "a.mp3~3"]

    def test_the_same_name_again_and_again_is_counted_on_from_the_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[str] = []

        def counted(day: str, slot: str, name: str) -> str:
            tried.append(name)
            return storage_path(day, slot, name)

        monkeypatch.setattr("audioctl.names.storage_path", counted)
        assigned = assign(["a.mp3"] * 3000)
        assert [name for name, _ in assigned[-2:]] == ["a.mp3~2999", "a.mp3~3000"]
        assert len(tried) <= 3001

    def test_names_that_would_share_a_file_are_numbered_too(self) -> None:
        assert assign(["a.mp3", "a"]) == [("a.mp3", f"{FOLDER}/a.opus"), ("a~2", f"{FOLDER}/a~2.opus")]

    @pytest.mark.parametrize("change", [str.upper, lambda name: name.replace("é", "e\u0301")])
    def test_names_differ_by_bytes(self, change: Callable[[str], str]) -> None:
        name = "café.mp3"
        assert [assigned for assigned, _ in assign([name, change(name)])] == [name, change(name)]


def test_the_base_name_is_the_last_part() -> None:
    assert base_name("a/b/c.mp3") == "c.mp3"
    assert base_name("c.mp3") == "c.mp3"


@given(st.binary(min_size=1, max_size=90).filter(lambda raw: b"\0" not in raw and not raw.endswith(b"/")))
def test_tarfile_gives_names_as_these_tests_assume(raw: bytes) -> None:
    header = tarfile.TarInfo(raw.decode(errors="surrogateescape")).tobuf(tarfile.GNU_FORMAT)
    read = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name
    assert read == raw.decode(errors="surrogateescape")


def test_a_clip_and_a_folder_never_share_a_name_on_the_server() -> None:
    names = ClipNames("2025-01-25", "12_30")
    _, file = names.assign("a.mp3")
    _, inside = names.assign("a.opus/b.mp3")
    assert file.endswith("/a.opus")
    assert not inside.startswith(f"{file}/")
