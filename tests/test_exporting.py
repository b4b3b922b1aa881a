"""Transcripts in the formats that people and programs read."""

import json
from pathlib import Path

import msgspec
import pytest
from journals import clip_lines, extracted, started, transcribed, whole_archive, write_journal
from workspace import DAY, Workspace

from audioctl.clips import ClipRecord, Segment
from audioctl.errors import JournalError
from audioctl.exporting import ExportedClip, Format, render, write_subtitle_files
from audioctl.states import ClipState, ExitCode, Reason


def segment(start: float, end: float, text: str) -> Segment:
    return Segment(start, end, text, avg_logprob=-0.1, no_speech_prob=0.0, compression_ratio=0.8)


SPOKEN = ExportedClip(
    "2025-01-25",
    "12_30",
    ClipRecord(
        ordinal=0,
        member="radio/a\nb.mp3",
        state=ClipState.STORED,
        storage_path="audio/2025/01/25/12_30/radio/a\nb.opus",
        duration_seconds=3725.5,
        language="en",
        language_probability=0.98,
        text="alpha <b> & bravo",
        segments=[segment(0.5, 1.25, "alpha"), segment(3661.001, 3662.0, "<b> & bravo")],
        model="bundled",
    ),
    file_path="/storage/audio/2025/01/25/12_30/radio/a\nb.opus",
)
REJECTED = ExportedClip(
    "2025-01-25",
    "12_30",
    ClipRecord(ordinal=1, member="c.mp3", state=ClipState.REJECTED, reason=Reason.EMPTY),
    file_path=None,
)
PROMISED = {"day", "slot", "ordinal", "member", "state", "reason", "file_path", "duration_seconds", "language"}
PROMISED |= {"language_probability", "text", "segments", "flags", "model"}


def document(wanted: Format, *clips: ExportedClip) -> str:
    return "".join(render(clips, wanted))


def test_jsonl_has_every_promised_field_for_every_member() -> None:
    lines = [json.loads(line) for line in document(Format.JSONL, SPOKEN, REJECTED).splitlines()]
    assert [line.keys() >= PROMISED for line in lines] == [True, True]
    assert lines[0]["member"] == "radio/a\nb.mp3"
    assert lines[0]["file_path"] == SPOKEN.file_path
    assert lines[0]["segments"][0] | {"start": 0.5, "end": 1.25, "text": "alpha"} == lines[0]["segments"][0]
    assert (lines[1]["state"], lines[1]["reason"], lines[1]["text"]) == ("rejected", "empty", None)


@pytest.mark.parametrize("clips", [[], [SPOKEN], [SPOKEN, REJECTED]])
def test_json_is_one_document_of_the_same(clips: list[ExportedClip]) -> None:
    lines = [json.loads(line) for line in document(Format.JSONL, *clips).splitlines()]
    assert json.loads(document(Format.JSON, *clips)) == lines


def test_txt_is_a_line_a_clip_that_says_something() -> None:
    assert document(Format.TXT, SPOKEN, REJECTED) == "[12_30 radio/a b.mp3] alpha <b> & bravo\n"


def test_tsv_is_a_line_a_segment_in_milliseconds() -> None:
    head, first, second = document(Format.TSV, SPOKEN, REJECTED).splitlines()
    assert head.split("\t") == ["day", "slot", "member", "start", "end", "text"]
    assert first.split("\t") == ["2025-01-25", "12_30", "radio/a b.mp3", "500", "1250", "alpha"]
    assert second.split("\t")[3:] == ["3661001", "3662000", "<b> & bravo"]


def test_srt_numbers_its_cues_and_says_which_clip_they_are_of() -> None:
    assert document(Format.SRT, SPOKEN) == (
        "1\n00:00:00,500 --> 00:00:01,250\n[12_30 radio/a b.mp3]\nalpha\n\n"
        "2\n01:01:01,001 --> 01:01:02,000\n[12_30 radio/a b.mp3]\n<b> & bravo\n\n"
    )


def test_vtt_escapes_what_it_would_take_for_markup() -> None:
    text = document(Format.VTT, SPOKEN)
    assert text.startswith("WEBVTT\n\nNOTE [12_30 radio/a b.mp3]\n\n00:00:00.500 --> 00:00:01.250\nalpha\n\n")
    assert "&lt;b&gt; &amp; bravo" in text


def test_subtitle_files_stand_beside_each_other_as_the_clips_do(tmp_path: Path) -> None:
    assert write_subtitle_files([SPOKEN, REJECTED], Format.SRT, {SPOKEN.day: tmp_path}) == 1
    assert (tmp_path / "12_30" / "radio" / "a\nb.srt").read_text().startswith("1\n00:00:00,500 --> ")


def subtitle_names(folder: Path, *members: str) -> list[str]:
    """Of the files that these clips get; each holds its member's name."""
    clips = [
        msgspec.structs.replace(SPOKEN.clip, member=member, segments=[segment(0.0, 1.0, member)]) for member in members
    ]
    write_subtitle_files([ExportedClip(DAY, "12_30", clip, None) for clip in clips], Format.VTT, {DAY: folder})
    files = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert len(files) == len(members)
    assert all(any(" ".join(member.split()) in text for text in files.values()) for member in members)
    return sorted(str(path.relative_to(folder / "12_30")) for path in files)


def test_no_two_clips_want_the_same_subtitle_file(tmp_path: Path) -> None:
    members = ["a.mp3", "a.wav", "A.mp3", "a.vtt/b.mp3", "a.vtt~/b.mp3", "a.vtt", "e\u0301.mp3", "é.mp3"]
    assert subtitle_names(tmp_path, *members)[0] == "A.vtt"


@pytest.mark.parametrize(
    "member", ["..", "...", "-rf", " ", "a\nb", "\x1b[2J", "n" * 2000, "d/" * 300 + "x", "日" * 200]
)
def test_a_hostile_name_is_a_safe_name_of_a_subtitle_file(tmp_path: Path, member: str) -> None:
    [name] = subtitle_names(tmp_path, member)
    assert ".." not in name.split("/")
    assert name.endswith(".vtt")


@pytest.mark.parametrize("member", ["../../escaped.mp3", "a/../../../escaped.mp3", "a\0b.mp3"])
def test_a_name_that_no_archive_can_have_given_is_refused(tmp_path: Path, member: str) -> None:
    clip = msgspec.structs.replace(SPOKEN.clip, member=member)
    with pytest.raises(JournalError, match="names a stored clip"):
        write_subtitle_files([ExportedClip(DAY, "12_30", clip, None)], Format.VTT, {DAY: tmp_path / "out"})
    assert list(tmp_path.iterdir()) == []


# The command


def test_subtitles_of_several_days_stand_in_folders_of_their_own(workspace: Workspace) -> None:
    for day in (DAY, "2025-01-26"):
        write_journal(workspace.state, "12_30", whole_archive(1), day)
    result = workspace.audioctl("export", f"{DAY}..2025-02-28", "--format", "vtt", "--out", "subtitles")
    assert "2 files" in result.stderr
    written = sorted(str(path.relative_to(workspace.folder)) for path in workspace.folder.rglob("*.vtt"))
    assert written == ["subtitles/2025/01/25/12_30/0.vtt", "subtitles/2025/01/26/12_30/0.vtt"]


@pytest.mark.parametrize("wanted", [Format.JSONL, Format.JSON, Format.TXT])
def test_of_a_running_day_there_is_what_is_there_so_far(workspace: Workspace, wanted: Format) -> None:
    running = [started(), extracted(0), *transcribed(0, "so far"), extracted(1), *clip_lines(1, "not yet")]
    write_journal(workspace.state, "12_30", running)
    text = workspace.audioctl("export", DAY, "--format", wanted.value).stdout
    assert ("so far" in text, "not yet" in text) == (True, False)


def test_an_export_takes_the_place_of_the_last_one_only_as_a_whole(workspace: Workspace) -> None:
    out = workspace.folder / "day.jsonl"
    out.write_text("yesterday's")
    journal = write_journal(workspace.state, "12_30", whole_archive(1))
    with journal.open("ab") as file:
        file.write(b"damage\n")
    assert workspace.audioctl("export", DAY, "--out", str(out)).returncode == ExitCode.FAILED
    assert out.read_text() == "yesterday's"
    assert [path for path in workspace.folder.iterdir() if path.name.startswith(".")] == []


def test_a_link_is_followed_and_a_device_is_written_to(workspace: Workspace) -> None:
    write_journal(workspace.state, "12_30", whole_archive(1))
    link, target = workspace.folder / "link.jsonl", workspace.folder / "target.jsonl"
    link.symlink_to(target)
    workspace.audioctl("export", DAY, "--out", str(link))
    assert link.is_symlink()
    assert workspace.audioctl("export", DAY, "--out", "/dev/stdout").stdout == target.read_text()
