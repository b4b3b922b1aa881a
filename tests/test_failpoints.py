"""The places at which ``tests/faults`` lets jobs fail, themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from workspace import wait_until

from audioctl.failpoints import VARIABLE, WAITING, failpoint

PROGRAM = """
import sys
from audioctl.failpoints import failpoint
for number in range(3):
    try:
        failpoint("here")
    except OSError as error:
        print(error.strerror)
    print(number)
"""


def reach(orders: Path) -> subprocess.CompletedProcess[str]:
    """A process that gets three times to the failpoint ``here``."""
    environment = os.environ | {VARIABLE: str(orders)}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)


def test_nothing_happens_without_the_variable() -> None:
    assert VARIABLE not in os.environ
    failpoint("here")


def test_nothing_happens_where_nothing_is_ordered(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("1 kill")
    assert reach(tmp_path).stdout.split() == ["0", "1", "2"]
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("action", "number"), [("kill", signal.SIGKILL), ("term", signal.SIGTERM), ("abort", signal.SIGABRT)]
)
def test_a_signal_ends_the_process_at_its_hit_and_no_later_one(
    action: str, number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "here").write_text(f"2 {action}")
    first, second = reach(tmp_path), reach(tmp_path)
    assert (first.returncode, second.returncode) == (-number, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_raised_once(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("1 ENOSPC")
    assert reach(tmp_path).stdout.split("\n") == ["No space left on device", "0", "1", "2", ""]


def test_a_process_waits_until_it_may_go_on(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("1 meet")
    ended: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(target=lambda: ended.append(reach(tmp_path)))
    thread.start()
    meeting = tmp_path / f"here{WAITING}"
    wait_until(meeting.exists, "the process")
    assert Path(f"/proc/{meeting.read_text()}").exists()
    assert ended == []
    meeting.unlink()
    thread.join()
    assert ended[0].returncode == 0
