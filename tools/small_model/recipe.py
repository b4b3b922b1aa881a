"""The two phases of training, as data. Times are shares of the time that the phase is given."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_WINDOW_FRAMES = 3000
"""30 s, what Whisper always sees."""
FULL = 1.0
"""Fill of a window from here on: it is full and cuts what runs over its end."""
OVERFULL = 1.2


@dataclass(frozen=True, slots=True)
class Recipe:
    long_windows_from: float
    """When windows of 30 s begin; before it and beside them windows are short, which is many times as quick."""
    prompts_from: float
    strong_word_targets_until: float
    """The word targets of the encoder get the full weight until here, for without them nothing aligns in time."""
    short_window_growth: tuple[tuple[float, int], ...]
    """(until, mel frames): the longest short window until that time."""
    prompt_share: float
    short_prompt_share: float
    full_share_of_long_windows: float
    longest_gap_frames: int
    single_phrase_share_short: float
    single_phrase_share_long: float

    long_window_share: float = 0.5
    learning_rate: float = 3e-3
    """Of AdamW, for embeddings, norms, biases and convolutions."""
    matrix_learning_rate: float = 5e-3
    """Of Muon, for the matrices of the layers."""

    def longest_short_window(self, progress: float) -> int:
        return next(frames for until, frames in self.short_window_growth if progress < until)

    def single_phrase_share(self, frames: int) -> float:
        long = frames == LONGEST_WINDOW_FRAMES
        return self.single_phrase_share_long if long else self.single_phrase_share_short

    def word_target_weight(self, progress: float) -> float:
        return 1.0 if progress < self.strong_word_targets_until else 0.4


FIRST_PHASE = Recipe(
    long_windows_from=0.4,
    prompts_from=0.2,
    strong_word_targets_until=0.3,
    short_window_growth=((0.1, 600), (0.3, 1000), (1.0, 1600)),
    prompt_share=0.2,
    short_prompt_share=0.7,
    full_share_of_long_windows=0.35,
    longest_gap_frames=200,
    single_phrase_share_short=0.25,
    single_phrase_share_long=0.25,
)
SECOND_PHASE = Recipe(
    long_windows_from=0.0,
    prompts_from=0.0,
    strong_word_targets_until=0.0,
    short_window_growth=((1.0, 1600),),
    prompt_share=0.4,
    short_prompt_share=0.35,
    full_share_of_long_windows=0.45,
    longest_gap_frames=260,
    single_phrase_share_short=0.25,
    single_phrase_share_long=0.12,
)
