"""The journal: what was appended is there, whatever happened to the process, the disk or the lease."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import (
    AT,
    clip_lines,
    encode,
    ended,
    extracted,
    started,
    transcribed,
    uploaded,
    whole_archive,
    write_holder,
)

from audioctl.clips import ClipRecord
from audioctl.errors import JournalError, LeaseLostError
from audioctl.ledger.events import BatchTranscribed, BatchUploaded, ClipTranscribed, Event
from audioctl.ledger.journal import JournalWriter, read_entries
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.lines import whole_lines, whole_lines_backwards
from audioctl.states import ClipState

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "12_30.jsonl"


@pytest.fixture
def lease(journal: Path) -> Iterator[Lease]:
    with Lease.acquire(lease_path(journal), run_id=None, job_id="5") as lease:
        yield lease


@pytest.fixture
def writer(journal: Path, lease: Lease) -> Iterator[JournalWriter]:
    with JournalWriter(journal, lease) as writer:
        yield writer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", "size=64k,mode=1777", "tmpfs", folder], check=True)
    yield folder
    subprocess.run([*AS_ROOT, "umount", folder], check=True)


def events_of(journal: Path) -> list[Event]:
    """With the clip lines that count where they were."""
    events: list[Event] = []
    for event, clips, _ in read_entries(journal):
        if isinstance(event, BatchTranscribed):
            events += [ClipTranscribed(at=AT, batch=event.batch, clip=clip) for clip in clips]
        events.append(event)
    return events


def test_what_was_appended_is_read_again(journal: Path, writer: JournalWriter) -> None:
    for event in whole_archive()[:2]:
        writer.append(event)
    writer.append(*whole_archive()[2:])
    assert events_of(journal) == whole_archive()


def test_a_journal_that_is_not_there_says_nothing(journal: Path) -> None:
    assert list(read_entries(journal)) == []


def test_an_append_returns_when_all_of_it_is_on_disk(
    journal: Path, writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", watched)
    writer.append(*transcribed(0))
    assert synced == [len(encode(transcribed(0)))] == [journal.stat().st_size]


@pytest.mark.parametrize("torn", [b"{", b'{"event":"attempt_', b"x" * 200_000])
def test_a_torn_end_is_not_read_and_cut_off_before_the_next_line(
    torn: bytes, journal: Path, writer: JournalWriter
) -> None:
    writer.append(started())
    with journal.open("ab") as file:
        file.write(torn)
    assert events_of(journal) == [started()]
    writer.append(extracted(0))
    assert journal.read_bytes() == encode([started(), extracted(0)])


def test_a_journal_that_is_all_torn_begins_anew(journal: Path, lease: Lease) -> None:
    journal.write_bytes(b'{"event"')
    with JournalWriter(journal, lease) as writer:
        writer.append(started())
    assert journal.read_bytes() == encode([started()])


def test_reading_can_go_on_from_the_end_of_any_entry(journal: Path) -> None:
    journal.write_bytes(encode(whole_archive()))
    entries = list(read_entries(journal))
    assert entries[-1].end == journal.stat().st_size
    for number, entry in enumerate(entries, 1):
        assert list(read_entries(journal, entry.end)) == entries[number:]


def test_clip_lines_count_only_with_their_batch_right_behind_them(journal: Path) -> None:
    (late,) = transcribed(1)[-1:]
    journal.write_bytes(encode([*clip_lines(0, "cut short"), started(2), *clip_lines(0), *transcribed(1), late]))
    entries = list(read_entries(journal))
    assert [type(entry.event).__name__ for entry in entries] == [
        "AttemptStarted",
        "BatchTranscribed",
        "BatchTranscribed",
    ]
    assert [[clip.ordinal for clip in entry.clips] for entry in entries] == [[], [3, 4, 5], []]


@pytest.mark.parametrize("nonsense", [b"\n", b"null\n", b"\0" * 40 + b"\n", b'{"event":3}\n', b'{"event":"clip"}\n'])
def test_a_line_that_is_no_event_is_an_error_that_names_the_byte_and_how_to_go_on(
    nonsense: bytes, journal: Path
) -> None:
    good = encode([started(), extracted(0)])
    journal.write_bytes(good + nonsense + encode([*transcribed(0)]))
    with pytest.raises(JournalError) as caught:
        list(read_entries(journal))
    assert str(journal) in caught.value.message
    assert f"byte {len(good)} " in caught.value.message
    assert caught.value.hint is not None
    subprocess.run(caught.value.hint.split("`")[1], shell=True, check=True)
    assert events_of(journal) == [started(), extracted(0)]
    assert Path(f"{journal}.damaged").stat().st_size > len(good)


def test_a_journal_that_cannot_be_opened_is_an_error(journal: Path, lease: Lease) -> None:
    journal.mkdir()
    with pytest.raises(JournalError, match=str(journal)):
        list(read_entries(journal))
    with pytest.raises(JournalError, match=str(journal)):
        JournalWriter(journal, lease)


def test_the_lines_of_an_append_stay_together_among_threads(journal: Path, writer: JournalWriter) -> None:
    batches, threads = 25, 6

    def work(thread: int) -> None:
        for number in range(batches):
            batch = thread * batches + number
            writer.append(extracted(batch))
            writer.append(*transcribed(batch, text="word " * 500))
            writer.append(uploaded(batch))

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    entries = list(read_entries(journal))
    complete = {entry.event.batch: len(entry.clips) for entry in entries if isinstance(entry.event, BatchTranscribed)}
    assert complete == dict.fromkeys(range(threads * batches), 3)
    assert sum(isinstance(entry.event, BatchUploaded) for entry in entries) == threads * batches


def test_a_full_disk_loses_nothing_and_the_journal_goes_on_when_there_is_space(small_disk: Path) -> None:
    journal, filling = small_disk / "12_30.jsonl", small_disk / "filling"
    with Lease.acquire(lease_path(journal), run_id=None, job_id=None) as lease, JournalWriter(journal, lease) as writer:
        writer.append(started(), extracted(0))
        filling.write_bytes(b"x" * 40_000)
        text = "word " * 500
        many = [
            ClipTranscribed(at=AT, batch=0, clip=ClipRecord(n, "a", ClipState.STORED, text=text)) for n in range(20)
        ]
        with pytest.raises(JournalError, match="No space left") as caught:
            writer.append(*many, transcribed(0)[-1])
        assert "resume" in str(caught.value.hint)
        assert journal.read_bytes().count(b'"clip"') > 1, "the disk was full in the middle of the append"
        assert not journal.read_bytes().endswith(b"\n")
        assert events_of(journal) == [started(), extracted(0)]
        with pytest.raises(JournalError, match="No space left"):
            writer.append(*many)
        filling.unlink()
        writer.append(ended())
        writer.append(started(2), extracted(0), *transcribed(0))
    assert events_of(journal) == [started(), extracted(0), ended(), started(2), extracted(0), *transcribed(0)]


def test_a_job_whose_archive_was_taken_over_writes_nothing_more(journal: Path, writer: JournalWriter) -> None:
    writer.append(started())
    write_holder(lease_path(journal), node="gpu9", job_id="78")
    with pytest.raises(LeaseLostError, match="job 78 on gpu9"):
        writer.append(extracted(0))
    assert events_of(journal) == [started()]


@given(
    st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    st.binary(max_size=30).map(lambda torn: torn.replace(b"\n", b"")),
    st.integers(1, 64),
)
def test_from_its_end_a_journal_has_the_same_lines(lines: list[bytes], torn: bytes, block_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("audioctl.ledger.lines._TAIL_BYTES", block_bytes)
        patch.setattr("audioctl.ledger.lines._LARGEST_BLOCK_BYTES", 3 * block_bytes)
        path = Path(folder, "12_30.jsonl")
        path.write_bytes(b"".join(line + b"\n" for line in lines) + torn)
        assert list(whole_lines_backwards(path)) == list(whole_lines(path))[::-1]
