"""The processes that work may crash in: what happens to one of them costs its call, and never the others."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import psutil
import pytest
from workspace import PATIENCE_SECONDS, wait_until

from audioctl.errors import AudioctlError
from audioctl.pipeline.workers import WorkerDiedError, WorkerPool

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


def be_ready() -> None:
    pass


def fail_to_begin() -> None:
    os._exit(1)


def double(number: int) -> int:
    return 2 * number


def refuse(words: str) -> None:
    raise ValueError(words)


def die(code: int) -> None:
    os._exit(code)


def die_while_sending(_: int) -> bytes:
    """The result is so large that the process is killed in the middle of it."""
    threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGKILL]).start()
    return bytes(1 << 30)


def die_and_tell(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    os._exit(3)


def wait_for(path: Path) -> int:
    path.with_suffix(".begun").touch()
    while not path.exists():
        time.sleep(0.01)
    return os.getpid()


def unpicklable(_: int) -> threading.Lock:
    return threading.Lock()


def new_pool(count: int = 2, timeout_seconds: float = PATIENCE_SECONDS) -> WorkerPool:
    return WorkerPool(count, timeout_seconds, be_ready, preload=[__name__])


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = new_pool()
    yield pool
    pool.close()


def test_results_and_errors_come_back(pool: WorkerPool) -> None:
    doubled = [pool.submit(double, number) for number in range(50)]
    assert [future.result() for future in doubled] == [2 * number for number in range(50)]
    with pytest.raises(ValueError, match="no such clip") as caught:
        pool.submit(refuse, "no such clip").result()
    assert "in refuse" in caught.value.__notes__[0]


def test_a_worker_that_dies_costs_its_call_only(pool: WorkerPool) -> None:
    before, dying, behind = pool.submit(double, 1), pool.submit(die, 3), pool.submit(double, 2)
    with pytest.raises(WorkerDiedError) as caught:
        dying.result()
    assert caught.value.exit_code == 3
    assert (before.result(), behind.result()) == (2, 4)


def test_a_call_is_given_up_when_three_workers_died_of_it(pool: WorkerPool, tmp_path: Path) -> None:
    with pytest.raises(WorkerDiedError):
        pool.submit(die_and_tell, tmp_path).result()
    assert len(list(tmp_path.iterdir())) == 3


def test_workers_end_without_a_word_when_the_job_is_killed_while_it_speaks_to_them() -> None:
    job = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_workers import double, new_pool
pool = new_pool()
assert pool.submit(double, 1).result() == 2
for worker in pool._workers:
    os.write(worker._connection.fileno(), b"half")  # of the four bytes and more of a call's length
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", job], capture_output=True, text=True, check=False)
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")


def test_a_worker_that_is_killed_while_it_sends_its_result_holds_nobody_up(pool: WorkerPool) -> None:
    dying = pool.submit(die_while_sending, 0)
    others = [pool.submit(double, number) for number in range(20)]
    with pytest.raises(WorkerDiedError) as caught:
        dying.result(PATIENCE_SECONDS)
    assert caught.value.exit_code == -signal.SIGKILL
    assert [future.result(PATIENCE_SECONDS) for future in others] == [2 * number for number in range(20)]


def test_a_call_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    pool = new_pool(1, timeout_seconds=0.2)
    endless, next_one = pool.submit(wait_for, tmp_path / "never"), pool.submit(double, 2)
    with pytest.raises(TimeoutError):
        endless.result()
    assert next_one.result() == 4
    pool.close()


def test_a_result_that_cannot_be_sent_costs_its_call(pool: WorkerPool) -> None:
    with pytest.raises(WorkerDiedError):
        pool.submit(unpicklable, 0).result()
    assert pool.submit(double, 2).result() == 4


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_to_every_process_of_the_job_are_the_parents_business(
    number: signal.Signals, pool: WorkerPool, tmp_path: Path
) -> None:
    waiting = [pool.submit(wait_for, tmp_path / "go") for _ in range(2)]
    wait_until((tmp_path / "go.begun").exists, "a worker to begin")
    children = psutil.Process().children(recursive=True)
    servers_and_workers = [child for child in children if any("forkserver" in part for part in child.cmdline())]
    for process in servers_and_workers:
        process.send_signal(number)
    (tmp_path / "go").touch()
    assert {future.result() for future in waiting} <= {process.pid for process in servers_and_workers}


def test_killing_the_pool_ends_every_call(tmp_path: Path) -> None:
    pool = new_pool()
    futures = [pool.submit(wait_for, tmp_path / "never") for _ in range(5)]
    wait_until((tmp_path / "never.begun").exists, "a worker to begin")
    pool.kill()
    for future in futures:
        with pytest.raises(CancelledError):
            future.result()
    with pytest.raises(CancelledError):
        pool.submit(double, 1)
    pool.kill()


def test_workers_that_cannot_begin_are_no_fault_of_the_call() -> None:
    pool = WorkerPool(1, PATIENCE_SECONDS, fail_to_begin, preload=[__name__])
    with pytest.raises(AudioctlError, match="cannot be started"):
        pool.submit(double, 1).result()
    pool.close()
