"""The upload stage against a real folder, a real sshd and a real rsync daemon: what arrives, what is tried again."""

import os
import random
import stat
import tempfile
from pathlib import Path

import pytest
from sshd import Sshd
from uploads import FOLDER, REAL_RSYNC, MakeFiles, StandIn, Target, reasons, ssh_target

from audioctl.pipeline.upload import Uploader, UploadResult
from audioctl.storage.failures import MEANINGS, PARTIAL, RETRYABLE

ODD_NAMES = [
    "plain.opus",
    "with space .opus",
    "'quoted\" $(touch gone) `id` ; & | * ? [a-z] {x}.opus",
    "two\nlines.opus",
    r"\#012 back\slash.opus",
    "é e\u0301 日本語 🎧.opus",
    "-rf.opus",
    "--delete/-e sh.opus",
    "#;comment.opus",
    "sub/sub/deep.opus",
]


# What arrives


def test_every_name_arrives_byte_for_byte_below_a_root_that_did_not_exist(
    target: Target, make_files: MakeFiles
) -> None:
    files = make_files(ODD_NAMES)
    result = target.upload(files, files_per_call=3)
    assert result == UploadResult(arrived=files)
    target.assert_holds_just(files)
    assert all(file.local_path.exists() for file in files)


def test_what_is_there_already_is_replaced(target: Target, make_files: MakeFiles) -> None:
    target.upload(make_files(5))
    newer = make_files(5, size_bytes=2000)
    assert target.upload(newer).arrived == newer
    target.assert_holds_just(newer)


def test_the_umask_of_the_server_decides_who_can_read_a_file(local: Target, make_files: MakeFiles) -> None:
    files = make_files(1)
    assert stat.S_IMODE(files[0].local_path.stat().st_mode) == 0o600
    before = os.umask(0o027)
    try:
        local.upload(files)
    finally:
        os.umask(before)
    assert stat.S_IMODE((local.folder / files[0].storage_path).stat().st_mode) == 0o640


def test_a_root_behind_a_link_is_followed(tmp_path: Path, make_files: MakeFiles) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    files = make_files(2)
    assert Target(f"{tmp_path}/link/store", tmp_path).upload(files).arrived == files
    Target("/", tmp_path / "disk/store").assert_holds_just(files)


def test_results_keep_the_order_of_submission(local: Target, make_files: MakeFiles) -> None:
    files = make_files(50)
    with local.uploader(files_per_call=3) as uploader:
        assert uploader.submit(files).result().arrived == files


def test_no_files_are_no_work(local: Target) -> None:
    assert local.upload([]) == UploadResult()
    assert not local.folder.exists()


def test_leaving_the_uploader_waits_for_what_was_submitted_and_leaves_nothing_behind(
    local: Target, make_files: MakeFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    monkeypatch.setattr("audioctl.temporary._LONGEST_SOCKET_PATH", 300)
    files = make_files(20)
    with local.uploader(files_per_call=2) as uploader:
        assert list((tmp_path / "t").iterdir())
        future = uploader.submit(files)
    assert future.done()
    local.assert_holds_just(files)
    assert not list((tmp_path / "t").iterdir())


# One file at fault


def test_a_file_that_cannot_be_written_costs_only_itself(target: Target, make_files: MakeFiles) -> None:
    files = make_files(["a.opus", "blocked/é b.opus", "c.opus", "blocked/d.opus", "e.opus"])
    blocker = target.folder / FOLDER / "blocked"
    blocker.parent.mkdir(parents=True)
    blocker.write_bytes(b"a file where a folder should be")
    result = target.upload(files)
    assert result.arrived == [files[0], files[2], files[4]]
    assert [file for file, _ in result.failed] == [files[1], files[3]]
    assert "blocked/é b.opus" in result.failed[0][1]
    blocker.unlink()
    target.assert_holds_just(result.arrived)
    assert all(file.local_path.exists() for file in files), "a file left scratch"


def test_a_file_that_is_missing_on_scratch_costs_only_itself(target: Target, make_files: MakeFiles) -> None:
    files = make_files(4)
    files[2].local_path.unlink()
    result = target.upload(files)
    assert result.arrived == [files[0], files[1], files[3]]
    assert result.failed[0][0] == files[2]


def test_files_that_rsync_took_one_by_one_have_arrived_only_when_it_says_0(
    local: Target, make_files: MakeFiles, stand_in: StandIn
) -> None:
    files = make_files(["a.opus", "blocked/b.opus"])
    (local.folder / FOLDER).mkdir(parents=True)
    (local.folder / FOLDER / "blocked").touch()
    stand_in.write(f'[ $(wc -l <{stand_in.folder}/calls) -gt 2 ] && exit 4\nexec {REAL_RSYNC} "$@"')
    result = local.upload(files)
    assert len(stand_in.calls()) == 3
    assert not result.arrived
    assert len(result.failed) == 2


# Retries


@pytest.mark.parametrize("code", sorted(set(MEANINGS) - PARTIAL))
def test_only_what_may_pass_is_tried_again(code: int, local: Target, make_files: MakeFiles, stand_in: StandIn) -> None:
    stand_in.write(f"exit {code}")
    files = make_files(2)
    result = local.upload(files, attempts=3)
    assert len(stand_in.calls()) == (3 if code in RETRYABLE else 1)
    assert [file for file, _ in result.failed] == files
    if code != 127:  # which has words of its own
        assert f"{MEANINGS[code]}, exit code {code}" in reasons(result)


def test_a_signal_that_was_not_ours_costs_a_try(local: Target, make_files: MakeFiles, stand_in: StandIn) -> None:
    """scancel sends its signal to every process of a job, and the job has time left to drain."""
    stand_in.write(f'[ $(wc -l <{stand_in.folder}/calls) -eq 1 ] && kill -TERM $$\nexec {REAL_RSYNC} "$@"')
    files = make_files(2)
    assert local.upload(files, attempts=2).arrived == files


@pytest.mark.parametrize("code", sorted(PARTIAL))
def test_a_partial_transfer_in_which_nothing_arrived_is_a_failure(
    code: int, local: Target, make_files: MakeFiles, stand_in: StandIn
) -> None:
    stand_in.write(f"exit {code}")
    files = make_files(2)
    result = local.upload(files)
    assert not result.arrived
    assert [file for file, _ in result.failed] == files


@pytest.mark.parametrize("code", sorted(RETRYABLE))
def test_a_failure_that_passes_is_forgotten(code: int, local: Target, make_files: MakeFiles, stand_in: StandIn) -> None:
    stand_in.write(f'[ $(wc -l <{stand_in.folder}/calls) = 1 ] && exit {code}\nexec {REAL_RSYNC} "$@"')
    files = make_files(2)
    assert local.upload(files) == UploadResult(arrived=files)
    local.assert_holds_just(files)


def test_a_destination_that_is_down_gets_one_attempt_a_call_until_one_succeeds(
    local: Target, make_files: MakeFiles, stand_in: StandIn
) -> None:
    calls_made: list[int] = []

    def upload(uploader: Uploader) -> bool:
        before = len(stand_in.calls())
        arrived = uploader.submit(make_files(1)).result().arrived
        calls_made.append(len(stand_in.calls()) - before)
        return bool(arrived)

    with local.uploader(attempts=3) as uploader:
        stand_in.write("exit 12")
        assert not upload(uploader)
        assert not upload(uploader)
        stand_in.write(f'exec {REAL_RSYNC} "$@"')
        assert upload(uploader)
        stand_in.write("exit 12")
        assert not upload(uploader)
    assert calls_made == [3, 1, 1, 3]


def test_pauses_are_random_and_their_limit_doubles(
    local: Target, make_files: MakeFiles, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    def note_instead_of_waiting(_low: float, high: float) -> float:
        limits.append(high)
        return 0.0

    monkeypatch.setattr(random, "uniform", note_instead_of_waiting)
    stand_in.write("exit 12")
    local.upload(make_files(1), attempts=9, first_pause_seconds=1)
    assert limits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_server_that_is_down_fails_the_files_and_one_that_comes_back_gets_them(
    tmp_path: Path, make_files: MakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Sshd(tmp_path / "sshd")
    target = ssh_target(server, tmp_path / "store")
    files = make_files(3)

    result = target.upload(files, attempts=2)
    assert not result.arrived
    assert "refuses the connection" in reasons(result)

    def start_server_instead_of_waiting(_low: float, _high: float) -> float:
        server.start()
        return 0.0

    monkeypatch.setattr(random, "uniform", start_server_instead_of_waiting)
    try:
        assert target.upload(files, attempts=2) == UploadResult(arrived=files)
    finally:
        server.stop()
    target.assert_holds_just(files)


def test_a_full_disk_is_said_and_passes_when_there_is_room(tiny_disk: Path, make_files: MakeFiles) -> None:
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    target = Target(str(tiny_disk / "store"), tiny_disk / "store")
    files = make_files(3, size_bytes=100_000)
    with target.uploader(attempts=2) as uploader:
        result = uploader.submit(files).result()
        assert not result.arrived
        assert "The destination is full" in reasons(result)
        ballast.unlink()
        assert uploader.submit(files).result().arrived == files
    target.assert_holds_just(files)
