"""The processes of an upload: the ssh connections that calls share, the ends of what runs, missing and old programs."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sshd import Sshd, make_key
from uploads import REAL_RSYNC, MakeFiles, StandIn, Target, reasons, ssh_target

from audioctl.errors import ConfigurationError
from audioctl.pipeline.upload import Uploader
from audioctl.storage.destination import parse_destination
from audioctl.storage.processes import Processes
from audioctl.storage.ssh import SESSIONS_PER_CONNECTION, SharedConnections, private_folder


def children() -> list[psutil.Process]:
    """Live processes that an upload started, and theirs; servers and workers of other tests may be there, too."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and child.name() in ("rsync", "ssh", "sh", "sleep")
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.01)


# Connections


def test_many_calls_need_one_login(sshd: Sshd, tmp_path: Path, make_files: MakeFiles) -> None:
    files = make_files(24)
    target = ssh_target(sshd, tmp_path / "store")
    assert target.upload(files, files_per_call=3, max_concurrent_uploads=8).arrived == files
    assert sshd.sessions() >= 8  # on a busy machine a call may be tried again
    assert sshd.logins() == 1


def test_one_connection_carries_no_more_sessions_than_sshd_allows(sshd: Sshd, tmp_path: Path) -> None:
    processes = Processes(os.environ)
    with ExitStack() as stack:
        connections = SharedConnections(
            parse_destination(f"{sshd.login}:{tmp_path}"),
            key=sshd.client_key,
            options=sshd.options,
            folder=stack.enter_context(private_folder()).path,
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
        # Between its end and the pause, the call's own failure is what is known.
        assert reasons(future.result()) == "stopped" or "exit code 12" in reasons(future.result())


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


def test_a_password_comes_from_the_environment_and_is_never_an_argument(
    guarded: Target, make_files: MakeFiles, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write(f'exec {REAL_RSYNC} "$@"')
    monkeypatch.setenv("RSYNC_PASSWORD", "hunter2")
    files = make_files(2)
    assert guarded.upload(files).arrived == files
    assert stand_in.calls()
    assert not any("hunter2" in call for call in stand_in.calls())
