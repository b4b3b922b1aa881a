"""Temporary files and sockets of jobs: in short private folders, which the next job removes where one was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audioctl.errors import ScratchError
from audioctl.temporary import short_folder, temporary_files_together

TOGETHER = """
from multiprocessing.util import get_temp_dir
from audioctl.temporary import temporary_files_together
with temporary_files_together():
    print(get_temp_dir(), flush=True)
    input()
"""
"""A process that keeps its files together, and with them the folder that multiprocessing has for a socket."""

ROOM = 27


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for temporary files; pytest's own is too long for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@contextmanager
def process_with_files(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", TOGETHER],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        made = Path(process.stdout.readline().strip())
        assert made.is_dir()
        assert made.parent.parent == folder
        yield process
        process.kill()


def test_a_folder_is_private_and_gone_when_it_is_removed(short: Path) -> None:
    with short_folder(ROOM) as folder:
        assert folder.path.parent == short
        assert folder.path.stat().st_mode & 0o777 == 0o700
    assert list(short.iterdir()) == []


def test_a_process_that_ends_takes_its_files_with_it(short: Path) -> None:
    with process_with_files(short) as process:
        process.communicate("\n")
        assert process.returncode == 0
        assert list(short.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_lives_is_not(short: Path) -> None:
    with process_with_files(short), process_with_files(short) as killed:
        assert len(list(short.iterdir())) == 2
        killed.kill()
        killed.wait()
        with short_folder(ROOM) as folder:
            (living,) = set(short.iterdir()) - {folder.path}
            assert len(list(living.iterdir())) == 1


def test_what_comes_after_goes_where_it_went_before(short: Path) -> None:
    """The report of an error, for one, has to outlive the process."""
    with temporary_files_together():
        assert Path(tempfile.gettempdir()).parent == short
    assert tempfile.gettempdir() == str(short)


def test_a_path_too_long_for_sockets_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with short_folder(ROOM) as folder:
        assert folder.path.parent == Path("/tmp")


def test_a_folder_that_cannot_be_made_is_told(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short / "gone"))
    with pytest.raises(ScratchError, match="gone") as caught:
        short_folder(ROOM)
    assert "TMPDIR" in str(caught.value.hint)
