"""Wherever files and rows go, they are the same; and ``verify`` finds whatever is done to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from archives import file_entry, write_archive
from speech import silent_clip
from sshd import RsyncDaemon, Sshd
from workspace import Workspace, spoken

from audioctl.names import storage_folder
from audioctl.states import ExitCode
from audioctl.verification import Problem


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    """With an archive of clips that speak, one that does not, one that is cut off, and two that are none."""
    entries, workspace.said = spoken(9)
    odd = {
        "silent.mp3": silent_clip(),
        "cut off.mp3": entries[0][1][:8000],
        "page.mp3": b"<html>503</html>",
        "notes.txt": b"Recorded in the field.",
        "odd 'name'\n日本.mp3": entries[1][1],
    }
    write_archive(workspace.archive, [*entries, *(file_entry(name, content) for name, content in odd.items())])
    return workspace


@pytest.fixture
def recorded(workspace: Workspace, database: str) -> str:
    """The workspace's archive is done, with its rows in this database."""
    workspace.configure("database", enabled=True)
    assert workspace.audioctl("db", "upgrade").returncode == ExitCode.DONE
    workspace.process()
    workspace.assert_all_was_heard()
    return database


@pytest.fixture
def elsewhere(workspace: Workspace) -> Workspace:
    """The same archive, with a state and a storage of its own."""
    folder = workspace.folder / "elsewhere"
    folder.mkdir()
    other = Workspace(folder)
    other.archive, other.said = workspace.archive, workspace.said
    return other


def differences(workspace: Workspace) -> list[tuple[str, str]]:
    """What ``verify --checksum`` says, as (member, problem); its exit code says whether there is anything."""
    result = workspace.audioctl("verify", "2025-01-25", "--checksum", "--json")
    assert result.returncode in (ExitCode.DONE, ExitCode.LOOK), result.stderr
    answer = json.loads(result.stdout)
    found = [(difference["member"], difference["problem"]) for difference in answer["differences"]]
    assert (result.returncode == ExitCode.LOOK) == bool(found)
    assert answer["clips"] == len([record for record in workspace.records().values() if record.storage_path])
    return found


def assert_same(workspace: Workspace, elsewhere: Workspace, files: Path) -> None:
    workspace.process()
    workspace.assert_all_was_heard()
    assert elsewhere.process().is_complete
    assert elsewhere.records() == workspace.records()
    assert elsewhere.files(files) == workspace.files()
    assert len(workspace.files()) == len(workspace.said) + 3
    assert differences(workspace) == []
    assert differences(elsewhere) == []


def test_a_second_time_gives_the_same(workspace: Workspace, elsewhere: Workspace) -> None:
    assert_same(workspace, elsewhere, elsewhere.storage)


def test_ssh_gives_the_same(workspace: Workspace, elsewhere: Workspace) -> None:
    with Sshd(elsewhere.folder / "sshd") as sshd:
        elsewhere.configure(
            "upload",
            destination=f"{sshd.login}:{elsewhere.storage}",
            ssh_key=str(sshd.client_key),
            ssh_options=tuple(sshd.options),
        )
        assert_same(workspace, elsewhere, elsewhere.storage)


def test_an_rsync_daemon_gives_the_same(workspace: Workspace, elsewhere: Workspace) -> None:
    with RsyncDaemon(elsewhere.folder / "daemon") as daemon:
        elsewhere.configure("upload", destination=daemon.url)
        assert_same(workspace, elsewhere, daemon.module)


def test_with_a_database_it_is_the_same_and_in_its_rows(
    workspace: Workspace, elsewhere: Workspace, database: str
) -> None:
    elsewhere.configure("database", enabled=True)
    assert elsewhere.audioctl("db", "upgrade").returncode == ExitCode.DONE
    assert_same(workspace, elsewhere, elsewhere.storage)
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select member, transcript_text, file_path, file_size_bytes from audio_files"
            " join transcripts on audio_file_id = audio_files.id"
        ).fetchall()
    files = elsewhere.files()
    root = storage_folder("2025-01-25", "12_30")
    stored = [record for record in elsewhere.records().values() if record.storage_path]
    assert sorted(rows) == sorted(
        (
            record.member,
            record.text,
            f"{elsewhere.storage}/{record.storage_path}",
            len(files[str(record.storage_path).removeprefix(root)]),
        )
        for record in stored
    )


@pytest.mark.parametrize("settings", [{"stream_batch_size": 1}, {"stream_batch_size": 100}])
def test_the_size_of_the_batches_does_not_matter(
    settings: dict[str, int], workspace: Workspace, elsewhere: Workspace
) -> None:
    elsewhere.configure("extract", **settings)
    workspace.process()
    elsewhere.process()
    assert elsewhere.files() == workspace.files()
    texts = [{name: record.text for name, record in one.records().items()} for one in (workspace, elsewhere)]
    assert texts[0] == texts[1]


MEMBER = "radio/003.mp3"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


FILE_DAMAGES: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "missing": (Path.unlink, [(MEMBER, Problem.FILE_MISSING)]),
    "truncated": (truncate, [(MEMBER, Problem.FILE_SIZE), (MEMBER, Problem.FILE_CONTENT)]),
    "changed": (change_a_byte, [(MEMBER, Problem.FILE_CONTENT)]),
    "extra": (lambda path: path.with_name("extra.opus").write_bytes(b"?"), [("", Problem.FILE_UNKNOWN)]),
    "renamed": (
        lambda path: path.rename(path.with_name("other.opus")),
        [(MEMBER, Problem.FILE_MISSING), ("", Problem.FILE_UNKNOWN)],
    ),
}


@pytest.mark.parametrize("damage", FILE_DAMAGES)
def test_verify_finds_what_is_done_to_a_file(damage: str, workspace: Workspace) -> None:
    do_damage, expected = FILE_DAMAGES[damage]
    workspace.process()
    do_damage(workspace.storage / str(workspace.records()[MEMBER].storage_path))
    assert sorted(differences(workspace)) == sorted(expected)


ROW_DAMAGES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "missing": (f"delete from audio_files where member = '{MEMBER}'", [(MEMBER, Problem.ROW_MISSING)]),
    "without its transcript": (
        f"delete from transcripts using audio_files f where audio_file_id = f.id and f.member = '{MEMBER}'",
        [(MEMBER, Problem.ROW_TEXT)],
    ),
    "other text": (
        "update transcripts set transcript_text = 'something else' from audio_files f"
        f" where audio_file_id = f.id and f.member = '{MEMBER}'",
        [(MEMBER, Problem.ROW_TEXT)],
    ),
    "other path": (
        f"update audio_files set file_path = '/elsewhere' where member = '{MEMBER}'",
        [(MEMBER, Problem.ROW_PATH)],
    ),
    "no path": (f"update audio_files set file_path = null where member = '{MEMBER}'", [(MEMBER, Problem.ROW_PATH)]),
    "renamed": (
        f"update audio_files set member = 'unknown.mp3' where member = '{MEMBER}'",
        [(MEMBER, Problem.ROW_MISSING), ("unknown.mp3", Problem.ROW_UNKNOWN)],
    ),
}


@pytest.mark.parametrize("damage", ROW_DAMAGES)
def test_verify_finds_what_is_done_to_a_row(damage: str, workspace: Workspace, recorded: str) -> None:
    statement, expected = ROW_DAMAGES[damage]
    assert differences(workspace) == []
    with psycopg.connect(recorded) as connection:
        assert connection.execute(statement).rowcount == 1
    assert sorted(differences(workspace)) == sorted(expected)


@pytest.fixture
def owing(workspace: Workspace) -> Iterator[Workspace]:
    workspace.storage.write_text("a file, not a folder")
    yield workspace
    workspace.storage.unlink()


def test_verify_names_what_is_not_uploaded(owing: Workspace) -> None:
    owing.process()
    members = [record.member for record in owing.records().values() if record.storage_path]
    owing.storage.unlink()
    found = [("", Problem.NOT_FINISHED), *((member, Problem.NOT_UPLOADED) for member in members)]
    assert sorted(differences(owing)) == sorted(found)
    owing.storage.touch()
