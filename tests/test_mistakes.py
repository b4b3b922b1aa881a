"""What people mistype and misremember, and what they are told: what is wrong, and what to type next."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from journals import DAY

from audioctl.cli import main


@pytest.fixture
def folder(eventful: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with archives of two days and a state folder that knows the first, and the one behind it."""
    folder = eventful.parent
    eventful.rename(folder / "audioctl-state")
    for day in (DAY, "2025-01-27"):
        write(folder / "archives" / day / f"0_{day}_12_30.tar.xz")
    (folder / "archives" / "2025-01-28").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


class Told:
    """The exit code and the words of a command that a person typed."""

    def __init__(self, arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["audioctl", *arguments.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        self.exit_code = ended.value.code
        self.words = capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("25.01.2025", "2025-01-25?"),
        ("25.1.2025", "2025-01-25?"),
        ("2025/01/25", "2025-01-25?"),
        ("2025_01_25", "2025-01-25?"),
        ("20250125", "2025-01-25?"),
        ("2025-1-5", "2025-01-05?"),
        ("1/25/2025", "2025-01-25?"),
        ("05/01/2025", "2025-01-05 or 2025-05-01?"),
    ],
)
@pytest.mark.parametrize("command", ["status", "submit-day", "verify"])
@pytest.mark.usefixtures("folder")
def test_a_day_written_otherwise_is_understood_and_asked_back(
    command: str, typed: str, meant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(f"{command} {typed}", monkeypatch, capsys)
    assert told.words == f"'{typed}' is not a day.\nWrite days as YYYY-MM-DD: did you mean {meant}\n"
    assert told.exit_code == 2


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("12:30", "12_30"),
        ("1230", "12_30"),
        ("12-30", "12_30"),
        ("12.30", "12_30"),
        ("9:05", "09_05"),
        ("12h30", "12_30"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_so_is_a_slot(
    typed: str, meant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(f"logs {DAY} {typed}", monkeypatch, capsys)
    assert told.words == f"'{typed}' is not a slot.\nWrite slots as HH_MM: did you mean {meant}?\n"
    assert told.exit_code == 2


UNKNOWN_DAY = (
    "Nothing is known of 2025-03-01 in {folder}/audioctl-state (paths.state_dir): it was not submitted.\n"
    "The nearest are 2025-01-25 and 2025-01-26; `audioctl status` shows all.\n"
)
UNKNOWN_SLOT = f"{DAY} has no archive 00_39.\nThe nearest is 00_40; `audioctl status {DAY}` shows all.\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        *((f"{command} 2025-03-01", UNKNOWN_DAY) for command in ("cancel", "export", "verify", "resume")),
        ("clean 2025-03-01 --archives", UNKNOWN_DAY),
        ("logs 2025-03-01 12_30", UNKNOWN_DAY),
        (f"logs {DAY} 00_39", UNKNOWN_SLOT),
        *((f"{command} {DAY} --slot 00_39", UNKNOWN_SLOT) for command in ("export", "verify", "resume")),
        (f"clean {DAY} --archives --slot 00_39", UNKNOWN_SLOT),
        (
            "export 2026-01-01..2026-01-05",
            "Nothing is known of 2026-01-01..2026-01-05 in {folder}/audioctl-state (paths.state_dir): it was not "
            "submitted.\nThe nearest are 2025-01-25 and 2025-01-26; `audioctl status` shows all.\n",
        ),
        (
            f"verify {DAY} --state-dir elsewhere",
            f"Nothing is known of {DAY} in {{folder}}/elsewhere (paths.state_dir): it was not submitted.\n"
            "There is no such folder. Is paths.state_dir right? `audioctl config show --origin` says where it comes "
            "from.\n",
        ),
        (
            f"verify {DAY} --state-dir archives",
            f"Nothing is known of {DAY} in {{folder}}/archives (paths.state_dir): it was not submitted.\n"
            "No other day is known there either. Is paths.state_dir right? `audioctl config show --origin` says where "
            "it comes from.\n",
        ),
        (
            "submit-day 2025-01-26",
            "No archive of 2025-01-26 was found: {folder}/archives/2025-01-26 does not exist.\n"
            "The nearest days in {folder}/archives/{{day}}: 2025-01-25 and 2025-01-27.\n",
        ),
        (
            "submit-day 2025-01-28",
            "No archive of 2025-01-28 was found: {folder}/archives/2025-01-28 is empty.\n"
            "The nearest days in {folder}/archives/{{day}}: 2025-01-25 and 2025-01-27.\n",
        ),
        (
            f"submit-day {DAY} --archives nowhere",
            f"No archive of {DAY} was found: {{folder}}/nowhere does not exist.\n"
            "Name the folder with --archives DIR; `audioctl config show --origin` says where paths.archives comes "
            "from.\n",
        ),
        (
            "submit-day 2025-01-28 --archives archives/2025-01-27",
            "No archive of 2025-01-28 was found: the nearest name in {folder}/archives/2025-01-27 is "
            "0_2025-01-27_12_30.tar.xz, which is of another day, 2025-01-27.\n"
            "The nearest day in {folder}/archives/2025-01-27: 2025-01-27.\n",
        ),
        (
            f"submit-day {DAY} --slot 12_40",
            f"{DAY} has no archive 12_40.\nThe nearest is 12_30; {{folder}}/archives/{{{{day}}}} is where archives "
            "were looked for.\n",
        ),
        (f"submit-tar {DAY} 12_30 a.tar", "'a.tar' is not a slot.\nWrite slots as HH_MM, for example 12_30.\n"),
        (f"logs 12_30 {DAY}", "'12_30' is not a day.\nIt is a slot, and those come behind: DAY SLOT.\n"),
    ],
)
def test_what_is_not_there_is_told_with_where_it_was_looked_for_and_what_is_nearest(
    typed: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(typed, monkeypatch, capsys)
    assert told.words == said.format(folder=folder)
    assert told.exit_code == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("status 2025-03-01", UNKNOWN_DAY),
        (
            "status --state-dir elsewhere",
            "Nothing has been submitted yet. Begin with `audioctl submit-day DAY`, or `audioctl demo`.\n"
            "Looked in {folder}/elsewhere (paths.state_dir).\n",
        ),
    ],
)
def test_status_says_the_same_though_nothing_to_show_is_no_failure(
    typed: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(typed, monkeypatch, capsys)
    assert told.words == said.format(folder=folder)
    assert told.exit_code == 0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("0_2025-01-28_12_30.tar.xz.part", "which has none of the endings .tar .tar.xz .txz"),
        ("0_2025-01-28_12-30.tar.xz", "which does not match paths.pattern = '*_{day}_{slot}.tar*'"),
        ("0_20250128_12_30.tar.xz", "which does not match paths.pattern = '*_{day}_{slot}.tar*'"),
        ("0_2025-01-27_12_30.tar.xz", "which is of another day, 2025-01-27"),
    ],
)
def test_of_files_with_other_names_the_nearest_is_named_and_what_is_wrong_with_it(
    name: str, why: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for other in ("README.txt", "checksums.sha256", name):
        write(folder / "archives" / "2025-01-28" / other)
    told = Told("submit-day 2025-01-28", monkeypatch, capsys)
    assert f"2025-01-28 is {name}, {why}" in told.words
    assert told.exit_code == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("stauts", "Did you mean 'status'?"),
        ("submit", "Did you mean"),
        ("db chek", "Did you mean 'check'?"),
        ("status --jsn", "--json"),
        (f"submit-day {DAY} --max-concurent 3", "--max-concurrent"),
        ("submit-day", "Missing argument 'DAY'"),
        (f"submit-day {DAY} --slot", "'--slot' requires an argument"),
        (f"logs {DAY} 00_40 --attempt x", "a valid integer"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_mistyped_command_or_option_is_told_with_the_one_that_was_meant(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(typed, monkeypatch, capsys)
    assert said in told.words
    assert told.exit_code == 2
