"""The lease: one holder at most, and a dead one is found out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from journals import holder_process, write_holder
from workspace import wait_until

from audioctl.errors import ArchiveBusyError, JournalError, LeaseLostError
from audioctl.ledger import lease as lease_module
from audioctl.ledger.lease import STALE_AFTER_SECONDS, Lease, LeaseHolder, live_holder
from audioctl.processes import boot_id, is_running, process_started

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
ROUNDS = 150


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "2025-01-25" / "12_30.lease"


def acquire(path: Path, heartbeat_seconds: float = 15.0) -> Lease:
    return Lease.acquire(path, run_id="run", job_id="77", heartbeat_seconds=heartbeat_seconds)


def make_old(path: Path, seconds: float = STALE_AFTER_SECONDS + 5) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def race(paths: list[Path], barrier: Barrier) -> list[tuple[bool, bool]]:
    """For each path, whether this process got the lease, and whether it was still its own when all had tried."""
    results = []
    for path in paths:
        barrier.wait()
        try:
            # Not given back: the next round has another path, and this process stays alive until all are through.
            lease = acquire(path)
        except ArchiveBusyError:
            barrier.wait()
            results.append((False, False))
            continue
        barrier.wait()
        try:
            lease.check()
            results.append((True, True))
        except LeaseLostError:
            results.append((True, False))
    barrier.wait()
    return results


def count_winners(paths: list[Path], racers: int) -> tuple[list[int], list[int]]:
    """Of several processes, how many got each of the leases, and how many kept it."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(racers) as pool:
        barrier = manager.Barrier(racers)
        results = pool.starmap(race, [(paths, barrier)] * racers, chunksize=1)
    rounds = list(zip(*results, strict=True))
    return [sum(got for got, _ in each) for each in rounds], [sum(kept for _, kept in each) for each in rounds]


def test_of_two_jobs_that_want_a_fresh_lease_exactly_one_gets_it(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.lease" for number in range(ROUNDS)]
    assert count_winners(paths, racers=2) == ([1] * ROUNDS, [1] * ROUNDS)


def test_of_two_jobs_that_want_the_lease_of_a_killed_one_exactly_one_gets_it(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.lease" for number in range(ROUNDS)]
    with holder_process(*paths) as killed:
        killed.kill()
    assert count_winners(paths, racers=2) == ([1] * ROUNDS, [1] * ROUNDS)


def test_of_many_jobs_that_want_the_lease_of_a_killed_one_exactly_one_keeps_it(tmp_path: Path) -> None:
    """Of more than two, one may lose it to the next again, and finds out before its first journal line."""
    paths = [tmp_path / f"{number}.lease" for number in range(ROUNDS)]
    with holder_process(*paths) as killed:
        killed.kill()
    _, kept = count_winners(paths, racers=4)
    assert kept == [1] * ROUNDS


def test_a_job_that_comes_too_late_to_a_stale_lease_leaves_it_to_the_one_that_took_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_holder(path)
    make_old(path)
    remove_stale = lease_module._remove_stale
    winners = []

    def too_late(path: Path, stale: LeaseHolder) -> None:
        monkeypatch.undo()
        winners.append(acquire(path))
        remove_stale(path, stale)

    monkeypatch.setattr(lease_module, "_remove_stale", too_late)
    with pytest.raises(ArchiveBusyError, match="job 77"):
        acquire(path)
    (winner,) = winners
    winner.check()
    winner.release()
    assert list(path.parent.iterdir()) == []


def test_a_held_lease_says_who_holds_it(path: Path) -> None:
    with acquire(path):
        holder = live_holder(path)
        assert holder is not None
        assert (holder.pid, holder.run_id, holder.job_id) == (os.getpid(), "run", "77")
        with pytest.raises(ArchiveBusyError, match=f"12_30 of 2025-01-25 .* job 77 on {holder.node}") as caught:
            acquire(path)
        assert "180 s" in str(caught.value.hint)


def test_a_lease_that_was_given_back_is_free(path: Path) -> None:
    acquire(path).release()
    assert live_holder(path) is None
    assert list(path.parent.iterdir()) == []
    acquire(path).release()


def test_the_lease_of_a_killed_process_of_this_machine_is_free_at_once(path: Path) -> None:
    with holder_process(path) as other:
        assert live_holder(path) is not None
        with pytest.raises(ArchiveBusyError):
            acquire(path)
        other.kill()
        other.wait()
        assert live_holder(path) is None
        with acquire(path) as mine:
            mine.check()
        assert list(path.parent.iterdir()) == []


def test_a_stopped_process_of_this_machine_keeps_its_lease_however_old_its_heartbeat(path: Path) -> None:
    with holder_process(path) as other:
        other.send_signal(signal.SIGSTOP)
        make_old(path, seconds=86_400)
        assert live_holder(path) is not None
        with pytest.raises(ArchiveBusyError):
            acquire(path)


def test_the_lease_of_a_zombie_is_free(path: Path) -> None:
    with holder_process(path) as other:
        other.kill()
        # Nobody has waited for it yet.
        wait_until(lambda: process_started(other.pid) is None, "the process to be a zombie")
        assert Path(f"/proc/{other.pid}").exists()
        assert live_holder(path) is None


def test_jobs_of_two_slurm_nodes_on_one_machine_are_told_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "node1")
    with holder_process(path) as other:
        monkeypatch.setenv("SLURMD_NODENAME", "node2")
        make_old(path, seconds=86_400)
        with pytest.raises(ArchiveBusyError, match="on node1 since"):
            acquire(path)
        other.kill()
        other.wait()
        with acquire(path):
            holder = live_holder(path)
            assert holder is not None
            assert holder.node == "node2"


def test_a_node_that_slurm_knows_nothing_of_goes_by_its_host_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    with acquire(path):
        holder = live_holder(path)
        assert holder is not None
        assert holder.node == socket.gethostname()


def test_another_process_with_the_number_of_a_dead_one_holds_nothing(path: Path) -> None:
    started = process_started(os.getpid())
    assert started is not None
    write_holder(path, boot_id=boot_id(), pid=os.getpid(), process_started=started)
    assert live_holder(path) is not None
    write_holder(path, boot_id=boot_id(), pid=os.getpid(), process_started=str(int(started) - 1))
    assert live_holder(path) is None


def test_a_process_that_this_user_may_not_see_is_not_taken_for_gone() -> None:
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from audioctl.processes import is_running, process_started
parent = os.getppid()
started = process_started(parent)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(process_started(parent), is_running(parent, started), is_running(2**22 + 1, "1"))
"""
    hide = f'mount -t proc -o hidepid=2 proc /proc && {sys.executable} -c "$1"; exit'
    seen = subprocess.run(
        [*AS_ROOT, "unshare", "--mount", "bash", "-c", hide, "bash", script], capture_output=True, text=True, check=True
    )
    assert seen.stdout.split() == ["None", "None", "False"]
    assert is_running(os.getpid(), process_started(os.getpid()) or "") is True


@pytest.mark.parametrize("content", [None, b"", b"\0" * 200, b'{"token":'])
def test_a_holder_elsewhere_or_without_a_name_is_judged_by_its_heartbeat(path: Path, content: bytes | None) -> None:
    write_holder(path)
    if content is not None:
        path.write_bytes(content)
    make_old(path, STALE_AFTER_SECONDS - 20)
    with pytest.raises(ArchiveBusyError):
        acquire(path)
    make_old(path)
    assert live_holder(path) is None
    with acquire(path) as mine:
        mine.check()
    assert list(path.parent.iterdir()) == []


def test_the_age_of_a_heartbeat_is_by_the_clock_of_the_file_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_holder(path)
    monkeypatch.setattr(time, "time", lambda: path.stat().st_mtime + 86_400)
    assert live_holder(path) is not None


def test_a_holder_keeps_its_heartbeat(path: Path) -> None:
    with acquire(path, heartbeat_seconds=0.01):
        make_old(path)
        wait_until(lambda: time.time() - path.stat().st_mtime < 60, "a heartbeat")


def test_a_job_that_was_taken_over_notices_and_leaves_the_new_lease_alone(path: Path) -> None:
    lease = acquire(path, heartbeat_seconds=0.01)
    path.unlink()
    write_holder(path, job_id="78")
    make_old(path)
    beat = path.stat().st_mtime
    with pytest.raises(LeaseLostError, match="job 78 on gpu7"):
        lease.check()
    time.sleep(0.1)
    lease.release()
    assert path.stat().st_mtime == beat


def test_a_lease_that_is_gone_is_lost(path: Path) -> None:
    with acquire(path) as lease:
        path.unlink()
        with pytest.raises(LeaseLostError, match="gone"):
            lease.check()


def test_a_lease_is_not_lost_while_another_job_looks_at_it(path: Path) -> None:
    """Which moves it aside for a moment."""
    with acquire(path) as lease:
        aside = path.rename(path.with_suffix(".stale-1"))
        back = subprocess.Popen([sys.executable, "-c", "import os, sys; os.rename(*sys.argv[1:])", aside, path])
        lease.check()
        back.wait()


def test_where_no_lease_can_be_made_the_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "2025-01-25").write_text("a file")
    with pytest.raises(JournalError, match=r"12_30\.lease") as caught:
        acquire(tmp_path / "2025-01-25" / "12_30.lease")
    assert "paths.state_dir" in str(caught.value.hint)
