"""faster-whisper's model, tokenizer and thresholds under a batcher of our own.

faster-whisper batches within one file only. Here windows of many clips go through the encoder and the decoder
together, and the results go back by index. Whatever has to differ within a batch does: the language is detected for
each clip on the encoder output that is decoded from, only windows that fail the quality thresholds are decoded again
at a higher temperature, and only what a window left off goes on as a window of its own.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import ctranslate2
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens

from audioctl.clips import SAMPLE_RATE, Segment, Window, WindowTranscript
from audioctl.engines.batching import Batcher, is_out_of_memory
from audioctl.engines.decoding import (
    BEST_OF,
    TEMPERATURES,
    Decoded,
    best_of,
    split_at_timestamps,
    token_limit,
)
from audioctl.engines.features import HOP, Features, LogMel, best_log_mel
from audioctl.errors import ModelError

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_SEED = 1
_MARGIN_FRAMES = 50
_CONTEXT_PER_TOKEN = 2  # CTranslate2 gives half of max_length to the prompt
_LATEST_FIRST_TIMESTAMP = 50  # 1.0 s, faster-whisper's max_initial_timestamp


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """How to decode. ``shortest_frames`` is the least a batch is padded to; 3000, the full 30 s, is what Whisper was
    trained on. ``languages`` limits what may be detected; ``language`` turns detection off."""

    window_batch_size: int = 32
    beam_size: int = 5
    language: str | None = None
    languages: tuple[str, ...] = ()
    shortest_frames: int = 3000


@dataclass(frozen=True, slots=True)
class _Language:
    code: str
    probability: float | None


class WhisperEngine:
    """A loaded faster-whisper model; see ``audioctl.engines.base.Engine``. Not for several threads at once.

    While the model has one batch, a thread computes the features of the next.
    """

    def __init__(self, whisper: WhisperModel, model: str, options: WhisperOptions) -> None:
        self.model = model
        self.busy_seconds = 0.0
        self._whisper = whisper
        self.options = options
        self._batcher = Batcher(options.window_batch_size)
        self._log_mel: LogMel = best_log_mel(whisper.feature_extractor, whisper.model.device)
        self._multilingual = bool(whisper.model.is_multilingual)
        self._tokenizer = Tokenizer(
            whisper.hf_tokenizer,
            self._multilingual,
            task="transcribe",
            language=options.language or "en",
        )
        self._suppressed_tokens = list(get_suppressed_tokens(self._tokenizer, [-1]) or ())

    @property
    def windows_at_once(self) -> int:
        """Fewer than ``options.window_batch_size`` once memory ran out."""
        return self._batcher.size

    @property
    def description(self) -> str:
        """What a log needs to say of how it decodes, as a sentence."""
        model, options = self._whisper.model, self.options
        return (
            f"The recogniser {self.model} ({model.compute_type} on {model.device}) hears up to {self.windows_at_once} "
            f"windows at once, of {options.shortest_frames * HOP // SAMPLE_RATE} to 30 s, and follows "
            f"{options.beam_size} beam{'s' if options.beam_size > 1 else ''}."
        )

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        began = time.monotonic()
        try:
            return self._transcribe(windows)
        except (RuntimeError, MemoryError) as error:
            raise self._stopped(error) from error
        finally:
            self.busy_seconds += time.monotonic() - began

    def _transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        languages: dict[int, _Language] = {}
        segments: list[list[Segment]] = [[] for _ in windows]
        waiting = dict(enumerate(windows))
        while waiting:
            rests: dict[int, Window] = {}
            for index, decoded in self._decode_until_good(waiting, languages).items():
                window = waiting[index]
                heard, left_off = self._segments(decoded, window, windows[index])
                segments[index] += heard
                if left_off is not None:
                    rests[index] = _from(window, left_off)
            waiting = rests
        return [
            WindowTranscript(heard, languages[window.clip].code, languages[window.clip].probability)
            for window, heard in zip(windows, segments, strict=True)
        ]

    def _decode_until_good(self, windows: Mapping[int, Window], languages: dict[int, _Language]) -> dict[int, Decoded]:
        attempts: dict[int, list[Decoded]] = {index: [] for index in windows}
        doubtful = _in_batching_order(windows)
        for temperature in TEMPERATURES:
            features = partial(self._features, windows)
            decode = partial(self._decode, windows, languages, temperature)
            for index, decoded in zip(doubtful, self._batcher.run(features, decode, doubtful), strict=True):
                attempts[index].append(decoded)
            doubtful = [index for index in doubtful if attempts[index][-1].is_doubtful]
        return {index: best_of(tried) for index, tried in attempts.items()}

    def _features(self, windows: Mapping[int, Window], indices: Sequence[int]) -> Features:
        """Of one batch. Called by a thread that is one batch ahead of the model."""
        samples = [windows[index].samples for index in indices]
        return self._log_mel(samples, self._padded_frames(max(map(len, samples))))

    def _decode(
        self,
        windows: Mapping[int, Window],
        languages: dict[int, _Language],
        temperature: float,
        indices: Sequence[int],
        features: Features,
    ) -> list[Decoded]:
        """One batch through the model. Clips that have no language yet get one in ``languages``."""
        batch = [windows[index] for index in indices]
        longest_seconds = max(window.duration_seconds for window in batch)
        encoded = self._whisper.model.encode(ctranslate2.StorageView.from_array(features))
        self._decide_languages(batch, encoded, languages)
        # CTranslate2 4.8 heeds the seed at the first draw of the process only. So two runs over the same archive
        # draw the same samples, and one that resumes in its middle may draw others.
        ctranslate2.set_random_seed(_SEED)
        results = self._whisper.model.generate(
            encoded,
            [self._prompt(languages[window.clip].code) for window in batch],
            max_length=_CONTEXT_PER_TOKEN * token_limit(longest_seconds),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppressed_tokens,
            max_initial_timestamp_index=_LATEST_FIRST_TIMESTAMP,
            **self._search(temperature),
        )
        return [self._decoded(result, temperature) for result in results]

    def _padded_frames(self, longest_samples: int) -> int:
        full = self._whisper.feature_extractor.nb_max_frames
        wanted = max(longest_samples // HOP + _MARGIN_FRAMES, self.options.shortest_frames)
        return int(min(full, wanted + wanted % 2))  # the encoder halves it

    def _decide_languages(
        self, batch: Sequence[Window], encoded: ctranslate2.StorageView, languages: dict[int, _Language]
    ) -> None:
        """Fill in the language of each clip that has none yet, by the votes of its windows in this batch.

        A window's vote weighs as much as it is long.
        """
        undecided = {window.clip for window in batch} - languages.keys()
        if not undecided:
            return
        if self.options.language or not self._multilingual:
            languages.update(dict.fromkeys(undecided, _Language(self.options.language or "en", None)))
            return
        votes: dict[int, defaultdict[str, float]] = {clip: defaultdict(float) for clip in undecided}
        for window, guesses in zip(batch, self._whisper.model.detect_language(encoded), strict=True):
            if window.clip in undecided:
                for token, probability in guesses:
                    votes[window.clip][token.strip("<|>")] += probability * max(1, len(window.samples))
        for clip, vote in votes.items():
            allowed = [code for code in vote if not self.options.languages or code in self.options.languages]
            best = max(allowed, key=lambda code: vote[code])
            languages[clip] = _Language(best, vote[best] / sum(vote.values()))

    def _prompt(self, language: str) -> list[int]:
        if not self._multilingual:
            return [self._tokenizer.sot]
        return [
            self._tokenizer.sot,
            self._whisper.hf_tokenizer.token_to_id(f"<|{language}|>"),
            self._tokenizer.transcribe,
        ]

    def _search(self, temperature: float) -> dict[str, Any]:
        if temperature == 0:
            return {"beam_size": self.options.beam_size}
        return {
            "beam_size": 1,
            "num_hypotheses": BEST_OF,
            "sampling_topk": 0,
            "sampling_temperature": temperature,
        }

    def _decoded(self, result: ctranslate2.models.WhisperGenerationResult, temperature: float) -> Decoded:
        tokens = result.sequences_ids[0]
        return Decoded(
            tokens=tokens,
            # The score is the mean over the tokens; the end token, which has a probability too, is not among them.
            avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech_prob=result.no_speech_prob,
            compression_ratio=get_compression_ratio(self._tokenizer.decode(tokens).strip()),
            temperature=temperature,
        )

    def _segments(self, decoded: Decoded, window: Window, within: Window) -> tuple[list[Segment], float | None]:
        """What was heard in ``window``, in seconds of the window that it lies ``within``, and where it left off."""
        if decoded.is_silence:
            return [], None
        pieces, left_off = split_at_timestamps(decoded.tokens, self._tokenizer.timestamp_begin, window.duration_seconds)
        offset = window.start_seconds - within.start_seconds
        segments = [
            Segment(
                start=offset + start,
                end=offset + end,
                text=text,
                # Of the whole window: that is what they were judged by.
                avg_logprob=decoded.avg_logprob,
                no_speech_prob=decoded.no_speech_prob,
                compression_ratio=decoded.compression_ratio,
                temperature=decoded.temperature,
            )
            for start, end, tokens in pieces
            if (text := self._tokenizer.decode(tokens).strip())
        ]
        return segments, left_off

    def _stopped(self, error: Exception) -> ModelError:
        if is_out_of_memory(error):
            return ModelError(
                f"The recogniser {self.model} has not enough memory for a single window: {error}",
                hint='Use a smaller model, transcribe.compute_type = "int8_float16", or a larger GPU.',
            )
        return ModelError(
            f"The recogniser {self.model} stopped: {error}",
            hint="What is done is kept. Run `audioctl resume`, and look at `nvidia-smi` if it happens again.",
        )


def _in_batching_order(windows: Mapping[int, Window]) -> list[int]:
    """Windows of like length together, so that little is padding; longest first, so that memory runs out early.

    The windows of a clip stay together, because those that share a batch decide on its language.
    """
    clips: defaultdict[int, list[int]] = defaultdict(list)
    for index, window in windows.items():
        clips[window.clip].append(index)
    by_length = sorted(
        clips.values(), key=lambda clip: max(len(windows[index].samples) for index in clip), reverse=True
    )
    return [index for clip in by_length for index in clip]


def _from(window: Window, seconds: float) -> Window:
    """What is left of ``window`` from ``seconds`` on."""
    first = round(seconds * SAMPLE_RATE)
    return Window(window.clip, window.start_seconds + first / SAMPLE_RATE, window.samples[first:])
