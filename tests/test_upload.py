"""The upload stage against a real folder, a real sshd and a real rsync daemon.

A stand-in for rsync is used only for exit codes, old versions and hangs that the real one cannot be made to show.
"""

import os
import random
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sshd import HOST, RsyncDaemon, Sshd, free_port, make_key

from audioctl.clips import OpusFile
from audioctl.errors import AudioctlError, ConfigurationError
from audioctl.pipeline.upload import Uploader, UploadResult
from audioctl.storage.check import check_destination
from audioctl.storage.destination import Destination, parse_destination
from audioctl.storage.failures import MEANINGS, PARTIAL, RETRYABLE, TransferError
from audioctl.storage.processes import Processes
from audioctl.storage.ssh import SESSIONS_PER_CONNECTION, SharedConnections, private_folder

FOLDER = "audio/2025/01/25/12_30"
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
REAL_RSYNC = shutil.which("rsync")

MakeFiles = Callable[..., list[OpusFile]]


@pytest.fixture
def make_files(tmp_path: Path) -> MakeFiles:
    """Makes files on scratch, named by ordinal, for the given names or count."""

    def make(names: Sequence[str] | int, size_bytes: int = 1000) -> list[OpusFile]:
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=tmp_path))
        listed = [f"{i}.opus" for i in range(names)] if isinstance(names, int) else names
        files = []
        for ordinal, name in enumerate(listed):
            path = scratch / str(ordinal)
            path.write_bytes(os.urandom(size_bytes))
            path.chmod(0o600)
            files.append(OpusFile(ordinal, path, f"{FOLDER}/{name}", size_bytes, sha256=""))
        return files

    return make


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RsyncDaemon]:
    with RsyncDaemon(tmp_path / "rsyncd") as server:
        yield server


class Target:
    """A destination, how to reach it, and the folder in which its files must appear."""

    def __init__(self, text: str, folder: Path, sshd: Sshd | None = None) -> None:
        self.destination: Destination = parse_destination(text)
        self.folder = folder
        self.ssh_key = sshd.client_key if sshd else None
        self.ssh_options = sshd.options if sshd else []

    def uploader(self, **settings: float) -> Uploader:
        return Uploader(
            self.destination,
            ssh_key=self.ssh_key,
            ssh_options=self.ssh_options,
            **{"first_pause_seconds": 0.01, **settings},  # type: ignore[arg-type]
        )

    def check(self) -> None:
        check_destination(self.destination, ssh_key=self.ssh_key, ssh_options=self.ssh_options)

    def upload(self, files: Sequence[OpusFile], **settings: float) -> UploadResult:
        with self.uploader(**settings) as uploader:
            return uploader.submit(files).result()

    def assert_holds_just(self, files: Sequence[OpusFile]) -> None:
        """The files, byte for byte, and nothing else: no temporary name is left either."""
        found = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}
        assert set(found) == {file.storage_path for file in files}
        for file in files:
            assert found[file.storage_path].read_bytes() == file.local_path.read_bytes()


@pytest.fixture
def local(tmp_path: Path) -> Target:
    return Target(str(tmp_path / "store"), tmp_path / "store")


@pytest.fixture(params=["local", "ssh", "daemon"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """Its folder, and the one above that, do not exist yet."""
    if request.param == "local":
        return Target(str(tmp_path / "new/it's a store"), tmp_path / "new/it's a store")
    if request.param == "ssh":
        server: Sshd = request.getfixturevalue("sshd")
        return ssh_target(server, tmp_path / "new/it's $(a) store")
    rsyncd: RsyncDaemon = request.getfixturevalue("daemon")
    return Target(f"{rsyncd.url}/new/a store", rsyncd.module / "new/a store")


def ssh_target(server: Sshd, folder: Path) -> Target:
    return Target(f"{server.login}:{folder}", folder, server)


def reasons(result: UploadResult) -> str:
    return "\n".join(reason for _, reason in result.failed)


def children() -> list[psutil.Process]:
    """Live processes that an upload started, and theirs; servers and workers of other tests may be there, too."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and child.name() in ("rsync", "ssh", "sh", "sleep")
    ]


class StandIn:
    """A shell script in front of the real rsync; it notes the arguments of each call, then does ``script``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls = folder / "calls"
        folder.mkdir()

    def write(self, script: str) -> None:
        program = self.folder / "rsync"
        program.write_text(f'#!/bin/sh\necho "$@" >>{self._calls}\n{script}\n')
        program.chmod(0o755)

    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    program = StandIn(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{program.folder}:{os.environ['PATH']}")
    return program


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 kB; a disk that is full, or read-only, can be had in no other way."""
    assert os.geteuid() == 0, "this test mounts a tmpfs, and only root can do that"
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", mount_point], check=True)
    yield mount_point
    # Lazy: the receiving half of an rsync that failed may need a moment more to end.
    subprocess.run(["umount", "--lazy", mount_point], check=True)


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
    monkeypatch.setattr("audioctl.storage.ssh._LONGEST_FOLDER", 200)
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


# Connections


def test_many_calls_need_one_login(sshd: Sshd, tmp_path: Path, make_files: MakeFiles) -> None:
    files = make_files(24)
    target = ssh_target(sshd, tmp_path / "store")
    assert target.upload(files, files_per_call=3, max_concurrent_uploads=8).arrived == files
    assert sshd.sessions() == 8
    assert sshd.logins() == 1


def test_one_connection_carries_no_more_sessions_than_sshd_allows(sshd: Sshd, tmp_path: Path) -> None:
    processes = Processes()
    with ExitStack() as stack:
        connections = SharedConnections(
            parse_destination(f"{sshd.login}:{tmp_path}"),
            key=sshd.client_key,
            options=sshd.options,
            folder=Path(stack.enter_context(private_folder())),
            processes=processes,
        )
        stack.callback(connections.close)
        for logins, sessions in ((1, SESSIONS_PER_CONNECTION), (2, 1)):
            for _ in range(sessions):
                shell = stack.enter_context(connections.session())
                assert processes.run([*shell, sshd.login, "true"], timeout_seconds=30).returncode == 0
            assert sshd.logins() == logins


def connection_processes(sshd: Sshd) -> list[psutil.Process]:
    """The ssh processes that hold a connection to ``sshd`` for others."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if {"-M", f"Port={sshd.port}"} <= set(process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_a_connection_that_was_lost_is_made_again(sshd: Sshd, tmp_path: Path, make_files: MakeFiles) -> None:
    target = ssh_target(sshd, tmp_path / "store")
    files = make_files(9)
    with target.uploader() as uploader:
        assert uploader.submit(files[:3]).result().arrived
        [connection] = connection_processes(sshd)
        connection.kill()
        assert uploader.submit(files[3:6]).result().arrived
        sshd.stop()
        sshd.start()
        assert uploader.submit(files[6:]).result().arrived
    target.assert_holds_just(files)
    assert sshd.logins() == 3


def test_nothing_is_left_running_when_the_uploader_is_left(sshd: Sshd, tmp_path: Path, make_files: MakeFiles) -> None:
    ssh_target(sshd, tmp_path / "store").upload(make_files(3))
    wait_until(lambda: not connection_processes(sshd))


def test_no_option_can_turn_the_check_of_host_keys_off(tmp_path: Path, sshd: Sshd, make_files: MakeFiles) -> None:
    sshd.known_hosts.write_text("")
    target = ssh_target(sshd, tmp_path / "store")
    target.ssh_options = ["StrictHostKeyChecking=no", *target.ssh_options]
    result = target.upload(make_files(1))
    assert "host key" in reasons(result)
    assert "is not known here" in reasons(result)
    assert sshd.logins() == 0
    assert not target.folder.exists()


def test_a_changed_host_key_is_refused_at_once_and_said(sshd: Sshd, tmp_path: Path, make_files: MakeFiles) -> None:
    sshd.trust_host_key(make_key(tmp_path / "another"))
    target = ssh_target(sshd, tmp_path / "store")
    result = target.upload(make_files(2), attempts=3)
    assert f"The host key of {sshd.login} has changed" in reasons(result)
    assert sshd.log.read_text().count("Connection from") == 1 + 1  # ours, and the look whether sshd listens
    assert not target.folder.exists()


# Ends


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.01)


def test_a_server_that_hangs_is_given_up(sshd: Sshd, tmp_path: Path, make_files: MakeFiles) -> None:
    target = ssh_target(sshd, tmp_path / "store")
    with target.uploader(attempts=1, upload_timeout_seconds=3) as uploader:
        assert uploader.submit(make_files(1)).result().arrived
        sshd.freeze()
        result = uploader.submit(make_files(["late.opus"])).result()
        assert "was ended after 3 s" in reasons(result)
        ours = children()
    assert not ours
    sshd.stop()
    wait_until(lambda: not connection_processes(sshd))


def test_a_process_that_ignores_the_signal_is_killed_with_all_that_it_started(
    local: Target, make_files: MakeFiles, stand_in: StandIn
) -> None:
    stand_in.write("trap '' TERM\nsleep 1000 &\nsleep 1000")
    result = local.upload(make_files(1), attempts=1, upload_timeout_seconds=0.2)
    assert "was ended after 0.2 s" in reasons(result)
    wait_until(lambda: not children())


def test_stop_ends_what_runs_and_gives_everything_back(local: Target, make_files: MakeFiles, stand_in: StandIn) -> None:
    stand_in.write("exec sleep 1000")
    files = make_files(30)
    with local.uploader(files_per_call=2, max_concurrent_uploads=4) as uploader:
        future = uploader.submit(files)
        wait_until(lambda: len(stand_in.calls()) == 4)
        uploader.stop()
        assert future.result().failed == [(file, "stopped") for file in files]
        assert uploader.submit(files).result().failed == [(file, "stopped") for file in files]
    assert len(stand_in.calls()) == 4
    assert not children()


def test_stop_ends_a_pause_between_attempts(local: Target, make_files: MakeFiles, stand_in: StandIn) -> None:
    stand_in.write("exit 12")
    with local.uploader(attempts=2, first_pause_seconds=1e6) as uploader:
        future = uploader.submit(make_files(1))
        wait_until(lambda: bool(stand_in.calls()))
        uploader.stop()
        assert reasons(future.result()) == "stopped"


def test_an_exception_inside_ends_what_runs(local: Target, make_files: MakeFiles, stand_in: StandIn) -> None:
    stand_in.write("exec sleep 1000")
    uploader = local.uploader()
    future = uploader.submit(make_files(1))
    with pytest.raises(KeyError), uploader:
        raise KeyError
    assert reasons(future.result()) == "stopped"


# Programs and secrets


@pytest.mark.parametrize(
    ("programs", "destination", "missing"), [([], "/srv", "rsync"), (["rsync"], "store:/srv", "ssh")]
)
def test_a_missing_program_is_said_with_its_package(
    programs: list[str], destination: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in programs:
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=f"There is no {missing} on this machine") as caught:
        Uploader(parse_destination(destination))
    assert "apt install" in str(caught.value.hint)


OLD_RSYNC = f"""
case "$*" in *--mkpath*) echo "rsync: --mkpath: unknown option" >&2; exit 1;; esac
exec {REAL_RSYNC} "$@"
"""


def test_an_old_rsync_here_gets_its_root_made(target: Target, make_files: MakeFiles, stand_in: StandIn) -> None:
    target.folder.parent.mkdir(exist_ok=True)  # a daemon makes no more than the last one
    stand_in.write(OLD_RSYNC)
    files = make_files(6)
    assert target.upload(files, files_per_call=2, max_concurrent_uploads=1).arrived == files
    assert sum("--mkpath" in call for call in stand_in.calls()) == 1
    target.assert_holds_just(files)


def test_an_old_rsync_on_the_server_gets_its_root_made(tmp_path: Path, make_files: MakeFiles) -> None:
    old = StandIn(tmp_path / "server-bin")
    old.write(OLD_RSYNC)
    with Sshd(tmp_path / "sshd", environment={"PATH": f"{old.folder}:/usr/bin:/bin"}) as sshd:
        target = ssh_target(sshd, tmp_path / "deep/it's a store")
        files = make_files(4)
        assert target.upload(files, files_per_call=2, max_concurrent_uploads=1).arrived == files
        target.assert_holds_just(files)
        assert sshd.logins() == 1


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Target]:
    """A daemon that asks for the password of ``keeper``."""
    secrets = tmp_path / "secrets"
    secrets.write_text("keeper:hunter2\n")
    secrets.chmod(0o600)
    settings = f"read only = no\nauth users = keeper\nsecrets file = {secrets}\n"
    with RsyncDaemon(tmp_path / "rsyncd", settings=settings) as daemon:
        yield Target(f"rsync://keeper@{HOST}:{daemon.port}/storage", daemon.module)


def test_a_password_comes_from_the_environment_and_is_never_an_argument(
    guarded: Target, make_files: MakeFiles, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write(f'exec {REAL_RSYNC} "$@"')
    monkeypatch.setenv("RSYNC_PASSWORD", "hunter2")
    files = make_files(2)
    assert guarded.upload(files).arrived == files
    assert stand_in.calls()
    assert not any("hunter2" in call for call in stand_in.calls())


# The check before a long job


def test_a_destination_that_takes_files_passes_the_check_twice(target: Target) -> None:
    target.check()
    target.check()
    assert [path.name for path in target.folder.iterdir()] == [".audioctl-write-test"]


def failure_of(target: Target) -> AudioctlError:
    with pytest.raises(AudioctlError) as caught:
        target.check()
    assert caught.value.hint
    return caught.value


def test_the_check_tells_an_unknown_host_key(sshd: Sshd, tmp_path: Path) -> None:
    sshd.known_hosts.write_text("")
    assert "The host key of" in failure_of(ssh_target(sshd, tmp_path)).message


def test_the_check_tells_a_changed_host_key(sshd: Sshd, tmp_path: Path) -> None:
    sshd.trust_host_key(make_key(tmp_path / "another"))
    assert "has changed" in failure_of(ssh_target(sshd, tmp_path)).message


def test_the_check_tells_a_key_that_the_server_does_not_know(sshd: Sshd, tmp_path: Path) -> None:
    target = ssh_target(sshd, tmp_path)
    target.ssh_key = make_key(tmp_path / "stranger")
    assert "does not accept our ssh key" in failure_of(target).message


def test_the_check_tells_a_name_that_does_not_resolve(sshd: Sshd) -> None:
    target = Target("store.invalid:/srv", Path("/srv"), sshd)
    assert "The name store.invalid cannot be resolved" in failure_of(target).message


@pytest.mark.parametrize("kind", ["ssh", "daemon"])
def test_the_check_tells_a_refused_connection(kind: str) -> None:
    port = free_port()
    target = Target(f"{HOST}:/srv" if kind == "ssh" else f"rsync://{HOST}:{port}/storage", Path("/srv"))
    target.ssh_options = [f"Port={port}"]
    assert "refuses the connection" in failure_of(target).message


def test_the_check_tells_a_server_without_rsync(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd", environment={"PATH": str(tmp_path)}) as sshd:
        assert "There is no rsync on" in failure_of(ssh_target(sshd, tmp_path)).message


def test_the_check_tells_a_read_only_folder(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    for folder in (tiny_disk, tiny_disk / "deeper"):
        assert "The destination is read-only" in failure_of(Target(str(folder), folder)).message


def test_the_check_tells_a_read_only_module(tmp_path: Path) -> None:
    with RsyncDaemon(tmp_path / "rsyncd", settings="read only = yes\n") as daemon:
        assert "The destination is read-only" in failure_of(Target(daemon.url, daemon.module)).message


def test_the_check_tells_an_unknown_module(daemon: RsyncDaemon) -> None:
    target = Target(f"rsync://{HOST}:{daemon.port}/nowhere", daemon.module)
    assert "has no such module" in failure_of(target).message


def test_the_check_tells_a_wrong_password_without_asking_for_one(guarded: Target) -> None:
    assert "does not accept user and password" in failure_of(guarded).message


def test_the_check_tells_a_folder_that_belongs_to_others(tmp_path: Path, make_files: MakeFiles) -> None:
    # Everything may be written to by root, so the other side is a daemon that runs as nobody.
    (tmp_path / "rsyncd").mkdir()
    settings = "read only = no\nuid = nobody\ngid = nogroup\n"
    with RsyncDaemon(tmp_path / "rsyncd", settings=settings) as daemon:
        daemon.module.chmod(0o755)
        target = Target(daemon.url, daemon.module)
        failure = failure_of(target)
        assert isinstance(failure, TransferError)
        assert "no permission to write" in failure.message
        files = make_files(3)
        result = target.upload(files)
    assert [file for file, _ in result.failed] == files
