"""What a person types and sees: help, mistakes, exit codes, and the tables."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audioctl.demo import make_demo_day

DAY = "2025-01-25"
COMMANDS = ("submit-day", "submit-tar", "resume", "process-tar", "status", "export", "verify", "clean", "init", "demo")
HEAVY_LIBRARIES = ("torch", "faster_whisper", "ctranslate2", "av", "soundfile", "numpy", "psycopg", "peewee")


def audioctl(*arguments: str, cwd: Path, columns: int = 80) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    return subprocess.run(
        [sys.executable, "-m", "audioctl", *arguments],
        cwd=cwd,
        env=environment | {"COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one archive of a day, with every kind of member, is done."""
    folder = tmp_path_factory.mktemp("processed")
    make_demo_day(folder / "archives" / DAY, DAY, ["12_30"], clips_per_archive=4)
    result = audioctl(
        *("process-tar", DAY, f"archives/{DAY}/0_{DAY}_12_30.tar.xz", "12_30", "--model", "bundled", "--device", "cpu"),
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits_in_80_columns(command: str, tmp_path: Path) -> None:
    result = audioctl(command, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "Usage: audioctl" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_help_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    text = audioctl("--help", cwd=tmp_path).stdout
    assert all(command in text for command in (*COMMANDS, "config", "db", "ledger"))
    assert "75" in text


def test_importing_the_command_line_imports_no_audio_library() -> None:
    code = f"import sys, audioctl.cli; print([m for m in {HEAVY_LIBRARIES!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


WORKER_LIBRARIES = ("av", "ctranslate2", "faster_whisper", "numpy", "soundfile", "torch", "zstandard")

WITHOUT_WORKER_LIBRARIES = f"""
import sys
sys.modules.update(dict.fromkeys({WORKER_LIBRARIES!r}))  # to import one is an ImportError now
from audioctl.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", DAY],
        ["resume"],
        ["export", DAY, "--format", "txt"],
        ["search", "alpha"],
        ["verify", DAY],
        ["submit-day", DAY, "--archives", "archives/{day}", "--dry-run"],
        ["ledger", "rebuild"],
        ["config", "show"],
    ],
)
def test_a_login_node_needs_no_audio_library(arguments: list[str], processed: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_WORKER_LIBRARIES, *arguments], cwd=processed, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["proces-tar"], 2, "process-tar"),
        (["process-tar", DAY], 2, "ARCHIVE"),
        (["process-tar", "25.1.2025", "a.tar", "12_30"], 2, "YYYY-MM-DD"),
        (["process-tar", "2025-02-30", "a.tar", "12_30"], 2, "not a day"),
        (["process-tar", DAY, "a.tar", "12:30"], 2, "HH_MM"),
        (["process-tar", DAY, "a.tar", "25_00"], 2, "not a slot"),
        (["process-tar", DAY, "a.tar", "12_30"], 1, "a.tar"),
        (["process-tar", DAY, "a.tar", "12_30", "--beam-size", "-1"], 4, "beam_size"),
        (["process-tar", DAY, "a.tar", "12_30", "--device", "gpu"], 4, "cuda"),
        (["submit-day", DAY], 2, "archives"),
        (["submit-day", "2025-01-26..2025-01-25"], 2, "2025-01-25..2025-01-26"),
        (["submit-tar", DAY, "a.tar", "12_30"], 1, "a.tar"),
        (["export", DAY], 2, "state_dir"),
        (["export", DAY, "--format", "docx"], 2, "srt"),
        (["verify", DAY], 2, "state_dir"),
        (["--config", "nowhere.toml", "status"], 4, "nowhere.toml"),
    ],
)
def test_a_mistake_is_told_in_words_and_leaves_no_trace(
    arguments: list[str], exit_code: int, words: str, tmp_path: Path
) -> None:
    result = audioctl(*arguments, cwd=tmp_path)
    assert result.returncode == exit_code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.jsonl"))


def test_ctrl_c_while_the_program_is_still_being_read_leaves_no_traceback(tmp_path: Path) -> None:
    slow = tmp_path / "typer.py"
    slow.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise AssertionError('not ended')\n")
    path = os.pathsep.join([f"{tmp_path}", os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-m", "audioctl", "status"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


def test_status_of_nothing_says_how_to_begin(tmp_path: Path) -> None:
    result = audioctl("status", cwd=tmp_path)
    assert result.returncode == 0
    assert "submit-day" in result.stderr


def test_resume_of_nothing_is_done(tmp_path: Path) -> None:
    result = audioctl("resume", cwd=tmp_path)
    assert result.returncode == 0
    assert "Nothing is left to do" in result.stderr


def test_status_shows_the_archive_on_narrow_and_wide_terminals(processed: Path) -> None:
    narrow = audioctl("status", DAY, cwd=processed).stdout
    assert "12_30" in narrow
    assert "done" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    assert "node" in audioctl("status", DAY, cwd=processed, columns=200).stdout


def test_status_as_json_has_what_scripts_rely_on(processed: Path) -> None:
    report = json.loads(audioctl("status", DAY, "--json", cwd=processed).stdout)
    assert report["schema"] == 1
    [day] = report["days"]
    assert (day["day"], day["state"]) == (DAY, "done")
    assert (
        day["totals"] | {"archives": 1, "done": 1, "failed": 0, "clips": 7, "stored": 6, "rejected": 1} == day["totals"]
    )
    [archive] = day["archives"]
    assert archive["slot"] == "12_30"
    assert archive["batches"] == {"seen": 1, "done": 1, "failed": 0}
    assert (archive["skipped"], archive["owed_upload"], archive["owed_record"]) == (1, 0, 0)
    assert archive["finished_at"] >= archive["started_at"]


def test_failed_shows_nothing_when_nothing_failed(processed: Path) -> None:
    result = audioctl("status", "--failed", cwd=processed)
    assert (result.returncode, result.stdout) == (0, "")


def test_a_second_run_has_nothing_to_do(processed: Path) -> None:
    archive = f"archives/{DAY}/0_{DAY}_12_30.tar.xz"
    result = audioctl("process-tar", DAY, archive, "12_30", "--model", "bundled", "--json", cwd=processed)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["state"], summary["stored"], summary["first_transcript_seconds"]) == ("done", 6, None)


def test_a_pipe_that_closes_early_is_no_error(processed: Path) -> None:
    command = f"{sys.executable} -m audioctl export {DAY} | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=processed, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    assert json.loads(result.stdout)["slot"] == "12_30"


def test_rebuilding_the_ledger_changes_nothing_that_is_shown(processed: Path) -> None:
    def shown() -> object:
        return json.loads(audioctl("status", DAY, "--json", cwd=processed).stdout)["days"]

    before = shown()
    assert audioctl("ledger", "rebuild", cwd=processed).returncode == 0
    assert shown() == before


def test_verify_finds_no_difference_and_then_the_one_that_was_made(processed: Path) -> None:
    clean = audioctl("verify", DAY, "--checksum", cwd=processed)
    assert clean.returncode == 0, clean.stderr
    victim = next((processed / "audioctl-storage").rglob("*.opus"))
    content = victim.read_bytes()
    victim.write_bytes(content[:-1])
    try:
        result = audioctl("verify", DAY, "--json", cwd=processed)
        told = audioctl("verify", DAY, cwd=processed)
    finally:
        victim.write_bytes(content)
    assert result.returncode == 3
    assert [found["problem"] for found in json.loads(result.stdout)["differences"]] == ["file has another size"]
    assert "1 difference between journals, ledger and files: 1 × file has another size." in told.stderr


def test_a_day_found_by_a_relative_path_is_worked_on_in_the_background(tmp_path: Path) -> None:
    make_demo_day(tmp_path / "archives" / DAY, DAY, ["12_00", "12_10"], clips_per_archive=3)
    flags = ("--model", "bundled", "--device", "cpu")
    waited = audioctl("submit-day", DAY, "--archives", "archives/{day}", *flags, "--wait", cwd=tmp_path)
    assert waited.returncode == 0, waited.stderr
    assert "2 of 2 archives are done" in waited.stderr
    again = audioctl("submit-day", DAY, "--archives", "archives/{day}", *flags, cwd=tmp_path)
    assert again.stdout.count("left alone: done") == 2
