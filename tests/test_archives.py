"""Finding a day's archives."""

import os
from pathlib import Path

import pytest

from audioctl.archives import Archive, archive_folder, archive_identity, find_archives, named_otherwise
from audioctl.errors import ArchiveUnreadableError, ConfigurationError, UsageError

DAY = "2025-01-25"
PATTERN = "*_{day}_{slot}.tar*"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"content")


def slots(folder: Path, pattern: str = PATTERN) -> list[str]:
    return [archive.slot for archive in find_archives(folder, DAY, pattern)]


class TestFindArchives:
    def test_the_archives_of_the_day_come_sorted_by_slot(self, tmp_path: Path) -> None:
        touch(
            tmp_path, f"0_{DAY}_12_30.tar.xz", f"1_{DAY}_00_10.tar", f"0_{DAY}_23_50.tar.gz", "0_2025-01-26_12_30.tar"
        )
        assert slots(tmp_path) == ["00_10", "12_30", "23_50"]

    def test_an_archive_knows_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / f"0_{DAY}_12_30.tar.xz"
        path.write_bytes(b"12345")
        os.utime(path, ns=(0, 1_737_800_000_123_456_789))
        assert find_archives(tmp_path, DAY, PATTERN) == [Archive(DAY, "12_30", path, 5, 1_737_800_000_123_456_789)]
        assert archive_identity(path) == (5, 1_737_800_000_123_456_789)

    @pytest.mark.parametrize("ending", ["tar", "tar.xz", "txz", "tar.gz", "tgz", "tar.bz2", "tar.zst", "TAR.XZ"])
    def test_every_usual_ending_is_found(self, tmp_path: Path, ending: str) -> None:
        touch(tmp_path, f"0_{DAY}_12_30.{ending}")
        assert slots(tmp_path, "*_{day}_{slot}.*") == ["12_30"]

    @pytest.mark.parametrize(
        "name",
        [
            f"0_{DAY}_12_30.tar.xz.part",
            f"0_{DAY}_12_30.tar.xz.tmp",
            f"0_{DAY}_12_30.tar.xz~",
            f".0_{DAY}_12_30.tar.xz",
            f".0_{DAY}_12_30.tar.xz.Ab3dE9",
            f"0_{DAY}_12_30.tar.xz.sha256",
        ],
    )
    def test_partial_downloads_and_checksums_are_passed_over(self, tmp_path: Path, name: str) -> None:
        touch(tmp_path, name, f"0_{DAY}_12_40.tar.xz")
        assert slots(tmp_path) == ["12_40"]

    @pytest.mark.parametrize("slot", ["24_00", "12_60", "1230", "12-30", "12_3"])
    def test_what_is_no_slot_is_no_archive(self, tmp_path: Path, slot: str) -> None:
        touch(tmp_path, f"0_{DAY}_{slot}.tar")
        assert slots(tmp_path) == []

    def test_folders_are_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / f"0_{DAY}_12_30.tar").mkdir()
        assert slots(tmp_path) == []

    def test_links_are_followed(self, tmp_path: Path) -> None:
        touch(tmp_path, "elsewhere")
        (tmp_path / f"0_{DAY}_12_30.tar").symlink_to("elsewhere")
        assert slots(tmp_path) == ["12_30"]

    def test_a_link_whose_target_is_gone_is_named(self, tmp_path: Path) -> None:
        (tmp_path / f"0_{DAY}_12_30.tar").symlink_to("gone")
        with pytest.raises(ArchiveUnreadableError, match=f"0_{DAY}_12_30.tar"):
            slots(tmp_path)

    def test_an_empty_day_is_no_error(self, tmp_path: Path) -> None:
        assert find_archives(tmp_path, DAY, PATTERN) == []

    def test_a_folder_that_does_not_exist_is_the_users_mistake(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="gone does not exist") as caught:
            find_archives(tmp_path / "gone", DAY, PATTERN)
        assert "--archives" in (caught.value.hint or "")

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        touch(tmp_path, "file")
        with pytest.raises(UsageError, match="Not a directory"):
            find_archives(tmp_path / "file", DAY, PATTERN)

    def test_two_archives_for_one_slot_are_both_named(self, tmp_path: Path) -> None:
        touch(tmp_path, f"0_{DAY}_12_30.tar", f"0_{DAY}_12_30.tar.xz")
        with pytest.raises(UsageError) as caught:
            slots(tmp_path)
        assert f"0_{DAY}_12_30.tar and " in caught.value.message
        assert f"0_{DAY}_12_30.tar.xz" in caught.value.message
        assert f"audioctl submit-tar {DAY} ARCHIVE 12_30" in (caught.value.hint or "")


class TestPattern:
    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("{slot}.tar", "12_30.tar"),
            ("rec-??-{slot}-{day}.tar", f"rec-ab-12_30-{DAY}.tar"),
            ("{slot}_{slot}.tar", "12_30_12_30.tar"),
            ("a+b(1)[2]_{slot}.tar", "a+b(1)[2]_12_30.tar"),
        ],
    )
    def test_placeholders_and_wildcards_stand_for_what_they_say(self, tmp_path: Path, pattern: str, name: str) -> None:
        touch(tmp_path, name)
        assert slots(tmp_path, pattern) == ["12_30"]

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("{slot}.tar", "x12_30.tar"),
            ("rec-?-{slot}.tar", "rec-ab-12_30.tar"),
            ("{slot}_{slot}.tar", "12_30_12_40.tar"),
            ("a.b_{slot}.tar", "axb_12_30.tar"),
        ],
    )
    def test_the_whole_name_has_to_match(self, tmp_path: Path, pattern: str, name: str) -> None:
        touch(tmp_path, name)
        assert slots(tmp_path, pattern) == []

    def test_an_unknown_placeholder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"unknown placeholder \{hour\}") as caught:
            slots(tmp_path, "{hour}_{slot}.tar")
        assert caught.value.hint == "Use {day} and {slot}."

    @pytest.mark.parametrize("pattern", ["*.tar", "*_{day}.tar", "{slot}/*.tar"])
    def test_a_pattern_has_to_tell_the_slot_of_a_file(self, tmp_path: Path, pattern: str) -> None:
        with pytest.raises(ConfigurationError, match="cannot tell the slot"):
            slots(tmp_path, pattern)


class TestArchiveFolder:
    def test_the_day_a_home_and_variables_are_filled_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ada")
        monkeypatch.setenv("STAGING", "/staging")
        assert archive_folder("/data/{day}", DAY) == Path(f"/data/{DAY}")
        assert archive_folder("~/{day}", DAY) == Path(f"/home/ada/{DAY}")
        assert archive_folder("$STAGING/{day}/${STAGING}", DAY) == Path(f"/staging/{DAY}/staging")

    def test_a_value_is_not_filled_in_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STAGING", "/odd/{day}")
        assert archive_folder("$STAGING", DAY) == Path("/odd/{day}")

    def test_an_unknown_placeholder_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match=r"unknown placeholder \{slot\}"):
            archive_folder("/data/{slot}", DAY)

    @pytest.mark.parametrize("template", ["$NO_SUCH_VARIABLE/{day}", "${NO_SUCH_VARIABLE}/{day}"])
    def test_a_variable_that_is_not_set_is_named(self, template: str) -> None:
        with pytest.raises(ConfigurationError, match="variable NO_SUCH_VARIABLE, which is not set"):
            archive_folder(template, DAY)

    def test_a_home_that_does_not_exist_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="home folder that does not exist"):
            archive_folder("~no-such-user/{day}", DAY)


def test_the_identity_of_a_missing_archive_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnreadableError, match="No such file"):
        archive_identity(tmp_path / "gone.tar")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("0_2025-01-25_12_30.tar.xz", None),
        ("0_2025-01-25_12_40.tar.xz", "12_40 of 2025-01-25"),
        ("0_2025-01-26_12_30.tar.xz", "12_30 of 2025-01-26"),
        ("whatever.tar", None),
    ],
)
def test_a_name_that_is_of_another_day_or_slot_is_noticed(name: str, named: str | None) -> None:
    said = named_otherwise(name, DAY, "12_30", PATTERN)
    assert said == (named and f"By its name {name} is {named}; it is taken for 12_30 of {DAY}.")


def test_a_name_without_a_day_says_nothing_of_the_day() -> None:
    assert named_otherwise("12_30.tar", DAY, "12_30", "{slot}.tar") is None
    assert named_otherwise("12_40.tar", DAY, "12_30", "{slot}.tar") is not None
