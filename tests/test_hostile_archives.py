"""Archives made to do harm: nothing but members and damage comes out, and nothing gets anywhere else than it should."""

import io
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from archives import COMPRESSORS, Entry, clip_entries, file_entry, special_entry, tar_bytes, write_archive
from extraction import read_damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import encode, whole_archive
from speech import spoken_clips
from sshd import Sshd
from uploads import FOLDER, MakeFiles, ssh_target
from workspace import Workspace

from audioctl.errors import JournalError
from audioctl.ledger.journal import last_event, read_entries
from audioctl.ledger.progress import read_progress
from audioctl.ledger.transcripts import read_transcripts
from audioctl.names import ClipNames, UnsafeNameError
from audioctl.pipeline.decompress import DecompressionLimits
from audioctl.states import ExitCode, Reason

LIMITS = DecompressionLimits(size_bytes=64 << 20, ratio=1000, allowance_bytes=1 << 20)
BEGINNINGS = [b"", b"\xfd7zXZ\0", b"\x1f\x8b\x08", b"BZh9", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"]
"""Of every format that is told by its first bytes."""

any_change = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), max_size=4)
many = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def changed(content: bytes, changes: Iterable[tuple[float, bytes]]) -> bytes:
    stream = io.BytesIO(content)
    for place, rubbish in changes:
        stream.seek(int(place * len(content)))
        stream.write(rubbish)
    return stream.getvalue()


# Anything is members and damage, or events and damage


@given(beginning=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=3000))
@many
def test_any_bytes_are_damage_or_nothing(beginning: bytes, rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(beginning + rest)
    reading = read_damaged(path, limits=LIMITS)
    assert reading.damage is not None or not reading.members


@given(ending=st.sampled_from(sorted(COMPRESSORS)), changes=any_change)
@many
def test_a_compressed_archive_with_any_changes_gives_members_or_damage(
    ending: str, changes: list[tuple[float, bytes]], tmp_path: Path
) -> None:
    path = write_archive(tmp_path / f"a{ending}", clip_entries(3, size=700))
    path.write_bytes(changed(path.read_bytes(), changes))
    assert len(read_damaged(path, limits=LIMITS).members) <= 3


@given(
    kind=st.sampled_from([bytes([byte]) for byte in b"01234567ABDKLMNSVXxg\0"]),
    size=st.integers(-(1 << 70), 1 << 70),
    name=st.binary(max_size=90).map(lambda raw: raw.decode(errors="surrogateescape")),
    records=st.dictionaries(
        st.sampled_from(["path", "size", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "hdrcharset"]),
        st.sampled_from(["", "1", "-1", "1,2,3", "0,9", "99999999999999999999", "BINARY", "../x", "x\0y"]),
    ),
)
@many
def test_any_member_with_right_checksums_is_read_or_damage(
    kind: bytes, size: int, name: str, records: dict[str, str], tmp_path: Path
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size % (1 << 80)
    lasting = tarfile.TarInfo.create_pax_global_header(records) if records else b""
    path = tmp_path / "a.tar"
    path.write_bytes(lasting + entry.tobuf(tarfile.GNU_FORMAT) + tar_bytes(clip_entries(2)))
    read_damaged(path, limits=LIMITS)


@given(changes=any_change, cut=st.floats(0, 1))
@many
def test_a_journal_with_any_changes_gives_events_or_says_that_it_is_damaged(
    changes: list[tuple[float, bytes]], cut: float, tmp_path: Path
) -> None:
    journal = tmp_path / "12_30.jsonl"
    content = changed(encode(whole_archive()), changes)
    journal.write_bytes(content[: int(len(content) * cut)])
    for read in (lambda path: list(read_entries(path)), read_progress, read_transcripts, last_event):
        try:
            read(journal)
        except JournalError:
            continue


# Nothing is written where it should not be

Snapshot = dict[str, tuple[int, int, bytes]]


def snapshot(folder: Path, *, but: Iterable[Path]) -> Snapshot:
    """Every file, folder and link below ``folder``: its mode, its time of change, what is in it."""
    found = {}
    left_out = tuple(str(path) for path in but)
    for path in sorted(folder.rglob("*")):
        if str(path).startswith(left_out):
            continue
        status = path.lstat()
        content = b""
        if path.is_symlink():
            content = bytes(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        changed_ns = 0 if path.is_dir() else status.st_mtime_ns
        found[str(path.relative_to(folder))] = status.st_mode, changed_ns, content
    return found


def hostile_entries(outside: Path) -> list[Entry]:
    """Names, links and devices, each of which would reach ``outside`` where somebody unpacks without care."""
    clip = spoken_clips()[0].content
    up = "../" * 12
    return [
        *(
            special_entry(f"link{number}", tarfile.SYMTYPE, target)
            for number, target in enumerate(("/", "..", str(outside)))
        ),
        special_entry("hard", tarfile.LNKTYPE, str(outside / "treasure")),
        special_entry("audio", tarfile.SYMTYPE, str(outside)),
        special_entry("device", tarfile.CHRTYPE),
        special_entry("disk", tarfile.BLKTYPE),
        special_entry("pipe", tarfile.FIFOTYPE),
        special_entry("../folder", tarfile.DIRTYPE),
        special_entry(str(outside / "folder"), tarfile.DIRTYPE),
        file_entry("link0/tmp/through.mp3", clip),
        file_entry("link2/through.mp3", clip),
        file_entry("hard", clip),
        file_entry("audio/through.mp3", clip),
        file_entry(f"{outside}/absolute.mp3", clip),
        file_entry(f"/{outside}/treasure", clip),
        file_entry(f"{up}{outside}/up.mp3", clip),
        file_entry(f"a/../../{outside.name}/up.mp3", clip),
        file_entry("../../../../../state/ledger.db", clip),
        file_entry("000000.member", clip),
        file_entry("000001.opus.part", clip),
        file_entry("~/home.mp3", clip),
        file_entry("~root/home.mp3", clip),
    ]


def test_nothing_is_written_but_to_scratch_state_and_destination(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "treasure").write_bytes(b"as it was")
    workspace.configure("extract", spool_above=5_000)
    write_archive(workspace.archive, hostile_entries(outside))
    own = [workspace.state, workspace.storage, workspace.scratch, workspace.folder / "tmp"]
    own.append(workspace.write_configuration())
    before = snapshot(tmp_path, but=own)
    root_before = set(Path("/").iterdir())
    result = workspace.process_tar(environment={"HOME": str(outside)})
    assert result.returncode == ExitCode.DONE, result.stderr
    assert snapshot(tmp_path, but=own) == before
    assert set(Path("/").iterdir()) == root_before
    assert workspace.scratch_content() == []
    assert list((workspace.folder / "tmp").iterdir()) == []
    stored = [path for path in workspace.storage.rglob("*") if not path.is_dir()]
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in stored)
    assert not any(path.is_symlink() for path in workspace.storage.rglob("*"))
    records = [clip for batch in read_transcripts(workspace.journal).values() for clip in batch.clips]
    paths = {str(record.storage_path) for record in records if record.reason is None}
    assert {str(path.relative_to(workspace.storage)) for path in stored} == paths
    assert sum(record.reason is Reason.UNSAFE_NAME for record in records) == 3
    assert sum(record.reason is Reason.NOT_A_FILE for record in records) == 10


# No name reaches a shell

WAYS_INTO_A_SHELL = [
    "$({})",
    "`{}`",
    "; {} ;",
    "| {}",
    "&& {}",
    "\n{}\n",
    "'; {} #",
    '"; {} #',
    "<({})",
    "${{x:-$({})}}",
]
WAYS_INTO_A_SHELL += [
    "-e{}",
    "--rsh={}",
    "--rsync-path={}",
    "-oProxyCommand={}",
    "*",
    "?",
    "~",
    "\\",
    "!!",
    "\r",
    "\x1b]0;{}\a",
]


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """Its path is short: paths on the server have to fit into the database, also where pytest's own folder is deep."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_no_name_of_a_member_is_ever_a_command(
    sshd: Sshd, tmp_path: Path, server_folder: Path, make_files: MakeFiles
) -> None:
    """The names go from a tar to the server, over ssh, by every call that the program makes there."""
    gone = tmp_path / "run"
    gone.mkdir()
    raw = [f"{way.format(f'touch {gone}/{number}')}.mp3" for number, way in enumerate(WAYS_INTO_A_SHELL)]
    raw += [f"{way.format(f'cd ..;cd ..;touch x{number}')}" for number, way in enumerate(WAYS_INTO_A_SHELL)]
    path = write_archive(tmp_path / "a.tar", [file_entry(name, b"sound") for name in raw])
    members = read_damaged(path).members
    assert [member.reason for member in members] == [None] * len(raw)
    target = ssh_target(sshd, server_folder / "$(touch gone) `id` store")
    before = snapshot(tmp_path, but=[tmp_path / "scratch", tmp_path / "sshd"])
    files = make_files([member.storage_path.removeprefix(f"{FOLDER}/") for member in members])
    result = target.upload(files)
    assert result.arrived == files, result.failed
    target.assert_holds_just(files)
    again = target.upload(files)
    assert again.arrived == files
    assert snapshot(tmp_path, but=[tmp_path / "scratch", tmp_path / "sshd"]) == before
    assert list(gone.iterdir()) == []
    assert [child.name for child in server_folder.iterdir()] == ["$(touch gone) `id` store"]


@given(raws=st.lists(st.binary(min_size=1, max_size=80), min_size=30, max_size=60))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_names_arrive_at_the_server_under_just_their_paths(
    raws: list[bytes], sshd: Sshd, make_files: MakeFiles, server_folder: Path
) -> None:
    names = ClipNames("2025-01-25", "12_30")
    paths = []
    for raw in raws:
        try:
            paths.append(names.assign(raw.decode(errors="surrogateescape"))[1].removeprefix(f"{FOLDER}/"))
        except UnsafeNameError:
            continue
    target = ssh_target(sshd, Path(tempfile.mkdtemp(dir=server_folder)) / "store")
    files = make_files(paths)
    result = target.upload(files)
    assert result.arrived == files, result.failed
    target.assert_holds_just(files)
