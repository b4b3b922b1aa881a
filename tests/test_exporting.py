"""Transcripts in the formats that people and programs read."""

import json
from pathlib import Path

import pytest

from audioctl.clips import ClipRecord, Segment
from audioctl.exporting import ExportedClip, Format, render, write_subtitle_files
from audioctl.states import ClipState, Reason


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
    assert write_subtitle_files([SPOKEN, REJECTED], Format.SRT, tmp_path) == 1
    assert (tmp_path / "12_30" / "radio" / "a\nb.srt").read_text().startswith("1\n00:00:00,500 --> ")
