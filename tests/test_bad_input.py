"""Whatever an archive, a disk or a server does: it costs what it must, says what it is, and no good clip its words.

Every test goes through the whole pipeline, and ends with the trouble mended and a second job that finishes the work.
"""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from archives import Entry, file_entry, special_entry, tar_bytes, write_archive
from sounds import encoded, id3v1, id3v2, resample, silence, tone, video
from speech import silent_clip, spoken_clips
from workspace import Workspace, assert_mended, spoken

from audioctl.cli.process import exit_code_for
from audioctl.clips import SAMPLE_RATE, ClipRecord
from audioctl.states import ClipState, ExitCode, Flag, Reason

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Expected:
    """What becomes of a bad member. A stored clip of ``None`` text may say anything."""

    state: ClipState
    reason: Reason | None = None
    flags: tuple[Flag, ...] = ()
    text: str | None = None


SILENT = Expected(ClipState.STORED, Reason.NO_SPEECH, (Flag.NO_SPEECH,), "")
REJECTED_EMPTY = Expected(ClipState.REJECTED, Reason.EMPTY)
UNDECODABLE = Expected(ClipState.REJECTED, Reason.UNDECODABLE)


def cut_off_clip() -> bytes:
    content = spoken_clips()[0].content
    return content[: len(content) * 2 // 3]


BAD_CLIPS: dict[str, tuple[str, Callable[[], bytes], Expected]] = {
    "no bytes": ("a.mp3", lambda: b"", REJECTED_EMPTY),
    "its end is missing": ("a.mp3", cut_off_clip, Expected(ClipState.STORED, None, (Flag.TRUNCATED,))),
    "a web page": ("a.mp3", lambda: b"<html>503 Service Unavailable</html>\n", UNDECODABLE),
    "random bytes": ("a.mp3", lambda: np.random.default_rng(1).bytes(20_000), UNDECODABLE),
    "only a tag at its beginning": ("a.mp3", lambda: id3v2(b"Title", padding=500), REJECTED_EMPTY),
    "only a tag at its end": ("a.mp3", lambda: id3v1(b"Title"), REJECTED_EMPTY),
    "one sample": ("a.wav", lambda: wav(tone(1)[:1]), SILENT),
    "no sample": ("a.wav", lambda: wav(tone(1)[:0]), REJECTED_EMPTY),
    "silence": ("a.mp3", silent_clip, SILENT),
    "a tone": ("a.mp3", lambda: encoded(tone(3), "mp3"), SILENT),
    "a video with sound": ("a.mp3", lambda: video(tone(1)), SILENT),
    "a video without sound": ("a.mp3", lambda: video(None), UNDECODABLE),
    "a text": ("notes.txt", lambda: b"Recorded in the field.\n", Expected(ClipState.SKIPPED, Reason.NOT_AUDIO)),
}


def wav(samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> bytes:
    return sound_file(samples, "WAV")


def sound_file(samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]], container: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format=container)
    return file.getvalue()


def assert_became(record: ClipRecord, expected: Expected) -> None:
    assert (record.state, record.reason, tuple(record.flags)) == (expected.state, expected.reason, expected.flags)
    if expected.text is not None:
        assert record.text == expected.text


@pytest.mark.parametrize("trouble", BAD_CLIPS)
def test_a_bad_clip_costs_that_clip(trouble: str, workspace: Workspace) -> None:
    name, content, expected = BAD_CLIPS[trouble]
    workspace.write_between_clips(file_entry(name, content()))
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    assert_became(workspace.records()[name], expected)
    workspace.assert_all_was_heard()


def test_all_bad_clips_together_cost_only_themselves(workspace: Workspace) -> None:
    workspace.configure("extract", stream_batch_size=4)
    entries: list[Entry] = []
    for number, (name, content, _) in enumerate(BAD_CLIPS.values()):
        good, said = spoken(1, first=number)
        entries += [file_entry(f"{number}/{name}", content()), *good]
        workspace.said |= said
    write_archive(workspace.archive, entries)
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    records = workspace.records()
    for number, (name, _, expected) in enumerate(BAD_CLIPS.values()):
        assert_became(records[f"{number}/{name}"], expected)
    workspace.assert_all_was_heard()


def test_an_archive_of_bad_clips_only_is_done(workspace: Workspace) -> None:
    write_archive(workspace.archive, [file_entry(f"{number}.mp3", b"") for number in range(12)])
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    assert {record.reason for record in workspace.records().values()} == {Reason.EMPTY}
    workspace.assert_all_was_heard()


def test_three_hours_of_silence_are_a_clip_like_any_other(workspace: Workspace) -> None:
    night = io.BytesIO()
    with soundfile.SoundFile(night, "w", SAMPLE_RATE, channels=1, format="FLAC") as file:
        for _ in range(3 * 60):
            file.write(silence(60))
    workspace.configure("extract", spool_above=20_000)
    workspace.write_between_clips(file_entry("night.flac", night.getvalue()))
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    record = workspace.records()["night.flac"]
    assert_became(record, SILENT)
    assert record.duration_seconds == 3 * 60 * 60
    workspace.assert_all_was_heard()


def test_a_clip_over_the_limit_is_too_large(workspace: Workspace) -> None:
    workspace.configure("extract", max_member_size=100_000)
    workspace.write_between_clips(file_entry("large.wav", wav(tone(10))))
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    assert_became(workspace.records()["large.wav"], Expected(ClipState.REJECTED, Reason.TOO_LARGE))
    workspace.assert_all_was_heard()


@pytest.mark.parametrize("ending", ["MP3", "wav", "WAV", "m4a", "ogg", "flac", "opus", "webm", "aac", "mp4"])
def test_every_container_is_heard(ending: str, workspace: Workspace) -> None:
    clip = spoken_clips()[0]
    samples, rate = soundfile.read(io.BytesIO(clip.content), dtype="int16")
    kind = {"mp4": "m4a"}.get(ending, ending.lower())
    content = clip.content if kind == "mp3" else encoded(resample(samples, rate, SAMPLE_RATE), kind)
    workspace.write_between_clips(file_entry(f"a.{ending}", content))
    workspace.said[f"a.{ending}"] = clip.text
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    workspace.assert_all_was_heard()


NAMES: list[tuple[str | bytes, str]] = [
    ("one/two/three/four.mp3", "one/two/three/four.mp3"),
    ("./here.mp3", "here.mp3"),
    ("/etc/absolute.mp3", "etc/absolute.mp3"),
    ("down/../up.mp3", "up.mp3"),
    ("a/same.mp3", "a/same.mp3"),
    ("b/same.mp3", "b/same.mp3"),
    ("twice.mp3", "twice.mp3"),
    ("twice.mp3", "twice.mp3~2"),
    (" with  space .mp3", " with  space .mp3"),
    ("'quoted\" $(touch gone) `id` ; & | * ? [a-z].mp3", "'quoted\" $(touch gone) `id` ; & | * ? [a-z].mp3"),
    ("two\nlines.mp3", "two\nlines.mp3"),
    (b"caf\xe9.mp3", "caf\\xe9.mp3"),
    ("caf\u00e9.mp3", "caf\u00e9.mp3"),
    ("cafe\u0301.mp3", "cafe\u0301.mp3"),
    ("日本語 🎧.mp3", "日本語 🎧.mp3"),
    ("-rf.mp3", "-rf.mp3"),
    ("x" * 251 + ".mp3", "x" * 251 + ".mp3"),
    ("é" * 125 + ".mp3", "é" * 125 + ".mp3"),
    ("d/" * 150 + "deep.mp3", "d/" * 150 + "deep.mp3"),
]


def test_every_name_is_heard_and_stored_under_a_name_of_its_own(workspace: Workspace) -> None:
    clips = spoken_clips()
    entries = [file_entry(name, clip.content) for (name, _), clip in zip(NAMES, clips, strict=False)]
    workspace.said = {member: clip.text for (_, member), clip in zip(NAMES, clips, strict=False)}
    assert len(entries) == len(NAMES)
    write_archive(workspace.archive, entries)
    result = workspace.process_tar()
    assert (result.returncode, result.stderr.count("did not arrive")) == (ExitCode.DONE, 0), result.stderr
    workspace.assert_all_was_heard()
    assert not (workspace.folder / "gone").exists()


UNSAFE = Expected(ClipState.REJECTED, Reason.UNSAFE_NAME)
NO_FILE = Expected(ClipState.SKIPPED, Reason.NOT_A_FILE)
SPECIAL_MEMBERS: dict[str, tuple[Entry, Expected]] = {
    "../outside.mp3": (file_entry("../outside.mp3", spoken_clips()[0].content), UNSAFE),
    "symbolic": (special_entry("symbolic", tarfile.SYMTYPE, "/etc/passwd"), NO_FILE),
    "hard": (special_entry("hard", tarfile.LNKTYPE, "/etc/passwd"), NO_FILE),
    "device": (special_entry("device", tarfile.CHRTYPE), NO_FILE),
    "disk": (special_entry("disk", tarfile.BLKTYPE), NO_FILE),
    "fifo": (special_entry("fifo", tarfile.FIFOTYPE), NO_FILE),
    "folder": (special_entry("folder", tarfile.DIRTYPE), NO_FILE),
}


@pytest.mark.parametrize("name", SPECIAL_MEMBERS)
def test_a_member_that_is_no_clip_of_the_archive_reaches_nothing_outside(name: str, workspace: Workspace) -> None:
    entry, expected = SPECIAL_MEMBERS[name]
    workspace.write_between_clips(entry)
    before = {path for path in workspace.folder.parent.iterdir() if path != workspace.folder}
    assert exit_code_for(workspace.process()) == ExitCode.DONE
    assert_became(workspace.records()[name], expected)
    assert {path for path in workspace.folder.parent.iterdir() if path != workspace.folder} == before
    workspace.assert_all_was_heard()


# Archives that are damaged


def cut_at_60_percent(whole: bytes) -> bytes:
    return whole[: len(whole) * 6 // 10]


def cut_at_a_member(_: bytes) -> bytes:
    """What is left of the tar is whole members, and the compressed stream around it is whole as well."""
    entries, _said = spoken(7)
    return lzma.compress(tar_bytes(entries)[: sum(_padded(entry) for entry in entries[:6])])


def flip_a_byte(whole: bytes) -> bytes:
    place = len(whole) * 6 // 10
    return whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]


def _padded(entry: Entry) -> int:
    return tarfile.BLOCKSIZE + -(-entry[0].size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut at 60 %": (cut_at_60_percent, "is cut off after"),
    "cut at a member's edge": (cut_at_a_member, "is cut off after 6 whole members"),
    "a flipped byte": (flip_a_byte, "is corrupt"),
    "no tar": (lambda _: b"<html>404 Not Found</html>\n" * 100, "is not a tar archive"),
    "no bytes": (lambda _: b"", "is empty"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_keeps_its_readable_head_until_a_whole_one_comes(damage: str, workspace: Workspace) -> None:
    spoil, message = DAMAGES[damage]
    workspace.write_clips(12)
    workspace.archive = workspace.archive.with_suffix(".tar.xz")
    entries, said = spoken(12)
    write_archive(workspace.archive, entries)
    whole = workspace.archive.read_bytes()

    workspace.archive.write_bytes(spoil(whole))
    result = workspace.process_tar()
    assert result.returncode == ExitCode.LOOK
    assert str(workspace.archive) in result.stderr
    assert message in result.stderr
    assert "damaged" in result.stdout
    head = workspace.records()
    workspace.said = {name: text for name, text in said.items() if name in head}
    workspace.assert_all_was_heard()

    again = workspace.process_tar()
    assert (again.returncode, "nothing was left to transcribe" in again.stdout) == (ExitCode.LOOK, True)

    workspace.archive.write_bytes(whole)
    workspace.said = said
    assert_mended(workspace)
