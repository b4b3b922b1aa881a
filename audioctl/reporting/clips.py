"""Counting the clips of a day, in memory that does not grow with them: sums, and the few that are worth a look."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from audioctl.clips import ClipRecord, Segment
from audioctl.engines.decoding import COMPRESSION_RATIO_THRESHOLD, LOG_PROBABILITY_THRESHOLD
from audioctl.states import ClipState, Flag, Reason

KEPT_DOUBTFUL = 50
KEPT_REJECTED = 20
"""Of each reason."""

LENGTH_EDGES_SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600)
"""Between the classes of lengths; the first class begins at 0, the last one has no end."""

WORTH_A_CHECK = (Flag.REPETITIVE, Flag.LOW_CONFIDENCE, Flag.TRUNCATED)
"""Flags of transcripts that a person should compare with the sound."""

_LONGEST_TEXT = 400
"""Characters; of passages and of texts. A clip may last for hours."""
_MOST_PASSAGES = 5


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a clip to listen to, from ``start`` to ``end`` seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class DoubtfulClip:
    """A transcript that may be wrong. ``doubt`` is 1 where the model only just failed Whisper's thresholds, more where
    it missed them by far, and less where another flag makes it worth a check."""

    slot: str
    ordinal: int
    member: str
    flags: list[Flag]
    doubt: float
    duration_seconds: float
    language: str | None
    language_probability: float | None
    text: str
    passages: list[Passage]
    more_passages: int


@dataclass(frozen=True, slots=True)
class RejectedClip:
    slot: str
    member: str
    reason: str
    detail: str | None


@dataclass(slots=True)
class ClipTally:
    """What some clips add up to. Of those that are worth a look only so many are kept: the most doubtful ones, and of
    each reason for a rejection the first."""

    stored: int = 0
    stored_seconds: float = 0.0
    lengths: list[int] = field(default_factory=lambda: [0] * (len(LENGTH_EDGES_SECONDS) + 1))
    languages: Counter[str | None] = field(default_factory=Counter)
    """Clips; ``None`` where nobody speaks."""
    language_seconds: dict[str | None, float] = field(default_factory=lambda: defaultdict(float))
    flags: Counter[Flag] = field(default_factory=Counter)
    rejected: Counter[Reason | None] = field(default_factory=Counter)
    skipped: Counter[Reason | None] = field(default_factory=Counter)
    doubtful_count: int = 0
    doubtful: list[DoubtfulClip] = field(default_factory=list)
    """The worst first."""
    first_rejected: list[RejectedClip] = field(default_factory=list)

    def _add(self, slot: str, clip: ClipRecord) -> None:
        match clip.state:
            case ClipState.STORED:
                self._add_stored(slot, clip)
            case ClipState.REJECTED:
                if self.rejected[clip.reason] < KEPT_REJECTED:
                    self.first_rejected.append(
                        RejectedClip(slot, clip.member, clip.reason or "", _shortened(clip.detail or ""))
                    )
                self.rejected[clip.reason] += 1
            case ClipState.SKIPPED:
                self.skipped[clip.reason] += 1

    def merge(self, other: ClipTally) -> None:
        """Add what ``other``, of clips that come behind these, has counted."""
        for rejected in other.first_rejected:
            if sum(kept.reason == rejected.reason for kept in self.first_rejected) < KEPT_REJECTED:
                self.first_rejected.append(rejected)
        self.stored += other.stored
        self.stored_seconds += other.stored_seconds
        self.lengths = [one + two for one, two in zip(self.lengths, other.lengths, strict=True)]
        self.languages += other.languages
        for language, seconds in other.language_seconds.items():
            self.language_seconds[language] += seconds
        self.flags += other.flags
        self.rejected += other.rejected
        self.skipped += other.skipped
        self.doubtful_count += other.doubtful_count
        self.doubtful = _worst([*self.doubtful, *other.doubtful])

    def _add_stored(self, slot: str, clip: ClipRecord) -> None:
        seconds = clip.duration_seconds or 0.0
        language = clip.language if clip.segments else None
        self.stored += 1
        self.stored_seconds += seconds
        self.lengths[bisect_right(LENGTH_EDGES_SECONDS, seconds)] += 1
        self.languages[language] += 1
        self.language_seconds[language] += seconds
        self.flags.update(clip.flags)
        if any(flag in WORTH_A_CHECK for flag in clip.flags):
            self.doubtful_count += 1
            self.doubtful.append(_doubtful(slot, clip))


def tally(slot: str, clips: Iterable[ClipRecord]) -> ClipTally:
    """Of one batch of an archive."""
    counted = ClipTally()
    for clip in clips:
        counted._add(slot, clip)
    counted.doubtful = _worst(counted.doubtful)
    return counted


def _worst(clips: Sequence[DoubtfulClip]) -> list[DoubtfulClip]:
    return sorted(clips, key=lambda clip: (-clip.doubt, clip.slot, clip.ordinal))[:KEPT_DOUBTFUL]


def _doubtful(slot: str, clip: ClipRecord) -> DoubtfulClip:
    # What is cut off is cut off at its end.
    passages = [segment for segment in clip.segments if _doubt(segment) > 1] or clip.segments[-1:]
    return DoubtfulClip(
        slot=slot,
        ordinal=clip.ordinal,
        member=clip.member,
        flags=clip.flags,
        doubt=round(max(map(_doubt, clip.segments), default=0.0), 2),
        duration_seconds=clip.duration_seconds or 0.0,
        language=clip.language,
        language_probability=clip.language_probability,
        text=_shortened(clip.text or ""),
        passages=[Passage(one.start, one.end, _shortened(one.text)) for one in passages[:_MOST_PASSAGES]],
        more_passages=max(0, len(passages) - _MOST_PASSAGES),
    )


def _doubt(segment: Segment) -> float:
    return max(segment.avg_logprob / LOG_PROBABILITY_THRESHOLD, segment.compression_ratio / COMPRESSION_RATIO_THRESHOLD)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
