"""Files to upload, and the places to upload them to: a real folder, a real sshd and a real rsync daemon.

A stand-in for rsync is used only for exit codes, old versions and hangs that the real one cannot be made to show.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sshd import HOST, RsyncDaemon, Sshd
from workspace import Workspace

from audioctl.clips import OpusFile
from audioctl.pipeline.upload import Uploader, UploadResult
from audioctl.storage.check import check_destination
from audioctl.storage.destination import Destination, parse_destination

FOLDER = "audio/2025/01/25/12_30"
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


@pytest.fixture
def ssh_storage(workspace: Workspace) -> Iterator[Sshd]:
    """The workspace's storage is behind an sshd of its own."""
    with Sshd(workspace.folder.with_name(f"{workspace.folder.name}-sshd")) as sshd:
        workspace.configure(
            "upload",
            destination=f"{sshd.login}:{workspace.storage}",
            ssh_key=str(sshd.client_key),
            ssh_options=tuple(sshd.options),
        )
        yield sshd


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


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Target]:
    """A daemon that asks for the password of ``keeper``."""
    secrets = tmp_path / "secrets"
    secrets.write_text("keeper:hunter2\n")
    secrets.chmod(0o600)
    settings = f"read only = no\nauth users = keeper\nsecrets file = {secrets}\n"
    with RsyncDaemon(tmp_path / "rsyncd", settings=settings) as daemon:
        yield Target(f"rsync://keeper@{HOST}:{daemon.port}/storage", daemon.module)
