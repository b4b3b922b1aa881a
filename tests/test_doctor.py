"""``audioctl doctor`` and ``audioctl search``: what they find, and how they say it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from databases import DAY, clip

from audioctl.database.rows import store_batch

SLOT = "12_30"


def audioctl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    return subprocess.run(
        [sys.executable, "-m", "audioctl", *arguments],
        cwd=cwd,
        env=environment | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def verdicts(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in json.loads(result.stdout)["findings"]}


def test_all_is_good_where_a_job_would_run(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    result = audioctl("doctor", "--model", "bundled", "--device", "cpu", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    found = verdicts(result)
    assert {name: found[name] for name in ("state", "archives", "destination", "opus", "model")} == dict.fromkeys(
        ("state", "archives", "destination", "opus", "model"), "good"
    )


def test_what_a_job_would_fail_on_is_bad_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    result = audioctl("doctor", "--destination", "taken/store", "--model", "./none", cwd=tmp_path)
    assert result.returncode == 4
    lines = result.stdout.splitlines()
    assert any(line.startswith("bad") and "destination" in line for line in lines)
    assert any(line.startswith("bad") and "model" in line and "none" in line for line in lines)
    assert "A job would fail here" in result.stderr


@pytest.mark.usefixtures("database")
def test_tables_that_are_missing_are_bad_until_they_are_made(tmp_path: Path) -> None:
    check = ("doctor", "--database", "--model", "bundled", "--device", "cpu", "--json")
    assert verdicts(audioctl(*check, cwd=tmp_path))["database"] == "bad"
    assert audioctl("db", "upgrade", cwd=tmp_path).returncode == 0
    assert verdicts(audioctl(*check, cwd=tmp_path))["database"] == "good"


def test_words_are_found_in_the_database(upgraded: psycopg.Connection, tmp_path: Path) -> None:
    store_batch(upgraded, DAY, SLOT, [clip(0, "a\nb.mp3", text="alpha bravo"), clip(1, "c.mp3", text="charlie")])
    result = audioctl("search", "bravo", "--database", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    [hit] = json.loads(result.stdout)["hits"]
    assert (hit["day"], hit["slot"], hit["member"], hit["snippet"]) == (DAY, SLOT, "a\nb.mp3", "alpha bravo")
    assert "a\\nb.mp3" in audioctl("search", "alpha", "--database", cwd=tmp_path).stdout
    assert "0 hits" in audioctl("search", "zulu", "--database", cwd=tmp_path).stderr


def test_searching_without_a_database_says_what_to_do_instead(tmp_path: Path) -> None:
    result = audioctl("search", "alpha", cwd=tmp_path)
    assert result.returncode == 2
    assert "audioctl export" in result.stderr
