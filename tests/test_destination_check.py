"""The check of a destination before a long job, against a real folder, a real sshd and a real rsync daemon."""

import subprocess
from pathlib import Path

import pytest
from sshd import HOST, RsyncDaemon, Sshd, free_port, make_key
from uploads import MakeFiles, Target, ssh_target

from audioctl.errors import AudioctlError
from audioctl.storage.failures import TransferError


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
