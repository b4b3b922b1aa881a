"""Listing and fetching from a real folder, a real sshd and a real rsync daemon."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sshd import RsyncDaemon, Sshd

from audioctl.errors import UploadError
from audioctl.storage.destination import Destination, parse_destination
from audioctl.storage.listing import fetch, list_remote

PREFIX = "audio/2025/01/25/"
ODD_NAMES = [
    "plain.opus",
    " leading and trailing ",
    "two\nlines\n",
    "tab\tand\rreturn",
    r"\#012 looks escaped",
    r"back\slash and \#134#012",
    "é composed",
    "e\u0301 decomposed",
    "日本語 🎧",
    "a -> b",
    "-rf",
    "# comment",
    "'\"$(id)`id`;*?[x]",
    "sub/folder/deep.opus",
]


class Store:
    """The same folder seen as a destination; ``folder`` is where its files really lie."""

    def __init__(self, folder: Path, text: str, ssh: Sshd | None = None) -> None:
        self.folder = folder
        self.destination: Destination = parse_destination(text)
        self.ssh_key = ssh.client_key if ssh else None
        self.ssh_options = ssh.options if ssh else []

    def write(self, path: str, content: bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def list_files(self, prefix: str = PREFIX) -> dict[str, int]:
        return list_remote(self.destination, prefix, ssh_key=self.ssh_key, ssh_options=self.ssh_options)

    def fetch(self, paths: list[str], into: Path) -> None:
        fetch(self.destination, paths, into, ssh_key=self.ssh_key, ssh_options=self.ssh_options)


@pytest.fixture(params=["local", "ssh", "daemon"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(tmp_path / "store", str(tmp_path / "store"))
    elif request.param == "ssh":
        with Sshd(tmp_path / "sshd") as sshd:
            yield Store(tmp_path / "it's a store", f"{sshd.login}:{tmp_path}/it's a store", sshd)
    else:
        with RsyncDaemon(tmp_path / "rsyncd") as daemon:
            yield Store(daemon.module / "store", f"{daemon.url}/store")


def test_every_name_is_listed_as_it_is_with_its_size(store: Store) -> None:
    expected = {PREFIX + name: 1000 * size for size, name in enumerate(ODD_NAMES)}
    for path, size in expected.items():
        store.write(path, bytes(size))
    store.write("audio/2025/01/26/other day.opus", b"x")
    assert store.list_files() == expected


def test_names_that_are_not_utf8_keep_their_bytes(store: Store) -> None:
    store.write(PREFIX + "latin-1 \udce9", b"x")
    assert store.list_files() == {PREFIX + "latin-1 \udce9": 1}


def test_only_files_are_listed(store: Store) -> None:
    store.write(PREFIX + "file", b"1")
    (store.folder / PREFIX / "link").symlink_to("/etc/passwd")
    (store.folder / PREFIX / "folder").mkdir()
    os.mkfifo(store.folder / PREFIX / "fifo")
    assert store.list_files() == {PREFIX + "file": 1}


def test_a_large_size_is_read_in_full(store: Store) -> None:
    store.write(PREFIX + "large", b"")
    os.truncate(store.folder / PREFIX / "large", 12_345_678_901)
    assert store.list_files() == {PREFIX + "large": 12_345_678_901}


def test_a_folder_that_is_not_there_holds_nothing(store: Store) -> None:
    store.write("audio/2025/02/01/x", b"x")
    assert store.list_files() == {}


def test_a_destination_that_was_never_written_to_holds_nothing(store: Store) -> None:
    assert not store.folder.exists()
    assert store.list_files() == {}


def test_a_file_in_place_of_the_folder_is_an_error(store: Store) -> None:
    store.write("audio/2025", b"a file")
    with pytest.raises(UploadError, match=r"\((20|40)\)"):
        store.list_files()


def test_files_come_back_under_their_storage_paths(store: Store, tmp_path: Path) -> None:
    contents = {PREFIX + name: os.urandom(100 + len(name)) for name in ODD_NAMES}
    for path, content in contents.items():
        store.write(path, content)
    store.fetch([*contents, PREFIX + "not there"], tmp_path / "back")
    assert {path: (tmp_path / "back" / path).read_bytes() for path in contents} == contents
    assert sum(path.is_file() for path in (tmp_path / "back").rglob("*")) == len(contents)


def test_a_server_that_is_down_is_an_error(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "sshd")
    store = Store(tmp_path, f"{sshd.login}:{tmp_path}", sshd)
    with pytest.raises(UploadError, match="refuses the connection"):
        store.list_files()
    with pytest.raises(UploadError, match="refuses the connection"):
        store.fetch([PREFIX + "x"], tmp_path / "back")


_FILE_NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(_FILE_NAMES, min_size=1, max_size=20))
def test_any_set_of_names_is_listed_exactly(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    store = Store(folder := tmp_path_factory.mktemp("store"), str(folder))
    for name in names:
        store.write(PREFIX + name, name.encode())
    assert store.list_files() == {PREFIX + name: len(name.encode()) for name in names}
