"""The transcribe stage: complete records of all members, from whatever the engine hears."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest
from speech import silent_clip, spoken_clips

from audioctl.audio.decode import ClipDecoder
from audioctl.audio.speech import SpeechFinder
from audioctl.clips import (
    SAMPLE_RATE,
    ClipRecord,
    ConvertedBatch,
    ConvertedClip,
    Member,
    OpusFile,
    Segment,
    SetAside,
    Window,
    WindowTranscript,
)
from audioctl.engines.loading import load_engine
from audioctl.pipeline.transcribe import transcribe
from audioctl.settings import Transcribe
from audioctl.states import ClipState, Flag, Reason

NOTHING = WindowTranscript([], "en", 0.3)


@dataclass
class ScriptedEngine:
    """Says of each window what ``heard`` holds for its clip and start."""

    heard: dict[tuple[int, float], WindowTranscript]
    calls: list[list[int]] = field(default_factory=list)
    model: str = "scripted"
    busy_seconds: float = 0.0

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        self.calls.append([window.clip for window in windows])
        return [self.heard.get((window.clip, window.start_seconds), NOTHING) for window in windows]


def segment(text: str, start: float = 0.0, end: float = 1.0, **figures: float) -> Segment:
    return Segment(
        start, end, text, **{"avg_logprob": -0.2, "no_speech_prob": 0.01, "compression_ratio": 1.0, **figures}
    )


def said(*segments: Segment, language: str = "en", probability: float | None = 0.98) -> WindowTranscript:
    return WindowTranscript(list(segments), language, probability)


def member(ordinal: int) -> Member:
    return Member(
        ordinal, f"radio/{ordinal}.mp3", f"2025/01/25/12_30/radio/{ordinal}.opus", 9_000, f"sha-{ordinal}", None
    )


def clip(
    ordinal: int, *starts_seconds: float, duration_seconds: float = 12.34567, truncated: bool = False
) -> ConvertedClip:
    """A clip with a window of a second at each of ``starts_seconds``."""
    windows = [Window(ordinal, start, np.zeros(SAMPLE_RATE, np.int16)) for start in starts_seconds]
    opus = OpusFile(ordinal, Path("scratch"), member(ordinal).storage_path, 1_000, "opus-sha")
    return ConvertedClip(member(ordinal), duration_seconds, windows, opus, truncated)


def records(clips: list[ConvertedClip], engine: ScriptedEngine, set_aside: Sequence[SetAside] = ()) -> list[ClipRecord]:
    return transcribe(ConvertedBatch(0, clips, list(set_aside)), engine)


def test_a_record_says_all_there_is_to_say_of_a_clip() -> None:
    engine = ScriptedEngine({(4, 2.0): said(segment("hello there", 0.3333, 0.98765, avg_logprob=-0.123456))})
    (record,) = records([clip(4, 2.0)], engine)
    assert record == ClipRecord(
        ordinal=4,
        member="radio/4.mp3",
        state=ClipState.STORED,
        reason=None,
        detail=None,
        storage_path="2025/01/25/12_30/radio/4.opus",
        size_bytes=9_000,
        sha256="sha-4",
        duration_seconds=12.346,
        language="en",
        language_probability=0.98,
        text="hello there",
        segments=[segment("hello there", 2.33, 2.99, avg_logprob=-0.1235)],
        flags=[],
        model="scripted",
    )


def test_times_count_from_the_beginning_of_the_clip() -> None:
    heard = {
        (0, 0.5): said(segment("one", 0.2, 0.9)),
        (0, 31.25): said(segment("two", 0.0, 0.4), segment("three", 0.4, 1.0)),
    }
    (record,) = records([clip(0, 0.5, 31.25)], ScriptedEngine(heard))
    assert [(one.start, one.end) for one in record.segments] == [(0.7, 1.4), (31.25, 31.65), (31.65, 32.25)]
    assert record.text == "one two three"


@pytest.mark.parametrize("starts", [(), (0.0,)], ids=["no window with speech", "no word in its window"])
def test_a_clip_without_words_is_stored_with_its_reason_and_no_language(starts: tuple[float, ...]) -> None:
    (record,) = records([clip(0, *starts)], ScriptedEngine({}))
    assert (record.state, record.reason, record.text) == (ClipState.STORED, Reason.NO_SPEECH, "")
    assert record.flags == [Flag.NO_SPEECH]
    assert (record.language, record.language_probability, record.segments) == (None, None, [])
    assert record.model == "scripted"
    assert record.storage_path


@pytest.mark.parametrize(
    ("heard", "truncated", "flags"),
    [
        pytest.param([segment("fine")], False, [], id="nothing"),
        pytest.param([segment("la la", compression_ratio=2.41)], False, [Flag.REPETITIVE], id="a loop"),
        pytest.param([segment("fine"), segment("hm", avg_logprob=-1.01)], False, [Flag.LOW_CONFIDENCE], id="a guess"),
        pytest.param([segment("fine")], True, [Flag.TRUNCATED], id="cut off"),
        pytest.param([], True, [Flag.NO_SPEECH, Flag.TRUNCATED], id="cut off before a word"),
    ],
)
def test_flags_tell_what_to_beware_of(heard: list[Segment], truncated: bool, flags: list[Flag]) -> None:
    (record,) = records([clip(0, 0.0, truncated=truncated)], ScriptedEngine({(0, 0.0): said(*heard)}))
    assert record.flags == flags


def test_a_language_that_was_given_has_no_probability() -> None:
    engine = ScriptedEngine({(0, 0.0): said(segment("ja"), language="de", probability=None)})
    (record,) = records([clip(0, 0.0)], engine)
    assert (record.language, record.language_probability) == ("de", None)


def test_rejected_clips_and_skipped_members_have_records_in_their_place() -> None:
    set_aside = [
        SetAside(member(1), ClipState.REJECTED, Reason.UNDECODABLE, "no frame"),
        SetAside(member(3), ClipState.SKIPPED, Reason.NOT_AUDIO, None),
    ]
    engine = ScriptedEngine({(0, 0.0): said(segment("zero")), (2, 0.0): said(segment("two"))})
    zero, rejected, two, skipped = records([clip(2, 0.0), clip(0, 0.0)], engine, set_aside)
    assert [one.ordinal for one in (zero, rejected, two, skipped)] == [0, 1, 2, 3]
    assert (zero.text, two.text) == ("zero", "two")
    assert (rejected.state, rejected.reason, rejected.detail) == (ClipState.REJECTED, Reason.UNDECODABLE, "no frame")
    assert (skipped.state, skipped.reason, skipped.detail) == (ClipState.SKIPPED, Reason.NOT_AUDIO, None)
    for one in (rejected, skipped):
        assert (one.text, one.storage_path, one.model, one.duration_seconds) == (None, None, None, None)
        assert (one.size_bytes, one.sha256) == (9_000, f"sha-{one.ordinal}")


def test_the_engine_hears_all_clips_in_one_call() -> None:
    engine = ScriptedEngine({})
    heard = records([clip(0, 0.0, 5.0), clip(1, 0.0), clip(2, 0.0)], engine)
    assert engine.calls == [[0, 0, 1, 2]]
    assert [one.ordinal for one in heard] == [0, 1, 2]


def test_a_batch_without_clips_has_no_records() -> None:
    assert records([], ScriptedEngine({})) == []


def test_records_can_be_written_as_json_and_read_again() -> None:
    engine = ScriptedEngine({(0, 0.0): said(segment("hello"))})
    made = records([clip(0, 0.0)], engine, [SetAside(member(1), ClipState.SKIPPED, Reason.NOT_A_FILE, "a link")])
    assert msgspec.json.decode(msgspec.json.encode(made), type=list[ClipRecord]) == made


def test_the_real_recogniser_fills_the_records_of_real_clips() -> None:
    spoken = spoken_clips()[:6]
    contents = [one.content for one in spoken] + [silent_clip()]
    batch = ConvertedBatch(0, [converted(ordinal, content) for ordinal, content in enumerate(contents)])
    *heard, silent = transcribe(batch, load_engine(Transcribe(model="bundled", device="cpu")))
    assert [(one.text, one.language) for one in heard] == [(one.text, one.language) for one in spoken]
    for one in heard:
        assert one.reason is None
        assert one.flags == []
        assert one.model == "bundled"
        assert 0.5 < (one.language_probability or 0) <= 1
        assert all(0 <= part.start < part.end <= (one.duration_seconds or 0) for part in one.segments)
    assert (silent.text, silent.reason, silent.language) == ("", Reason.NO_SPEECH, None)


def converted(ordinal: int, content: bytes) -> ConvertedClip:
    samples = np.concatenate(list(ClipDecoder(content, "clip.mp3").blocks()))
    finder = SpeechFinder(ordinal)
    finder.push(samples)
    return ConvertedClip(
        member(ordinal),
        len(samples) / SAMPLE_RATE,
        finder.finish(),
        OpusFile(ordinal, Path("scratch"), member(ordinal).storage_path, 1_000, "opus-sha"),
        truncated=False,
    )
