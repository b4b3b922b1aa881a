"""faster-whisper's model, tokenizer and thresholds under a batcher of our own.

faster-whisper batches within one file only. Here windows of many clips go through the encoder and the decoder
together, and the results go back by index. Whatever has to differ within a batch does: the language is detected for
each clip on the encoder output that is decoded from, and only windows that fail the quality thresholds are decoded
again at a higher temperature.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import ctranslate2
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens

from audioctl.clips import SAMPLE_RATE, Segment, Window, WindowTranscript
from audioctl.engines.decoding import TEMPERATURES, Decoded, best_of, split_at_timestamps
from audioctl.engines.features import LogMel, best_log_mel
from audioctl.errors import ModelError

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

BEST_OF = 5
"""Samples drawn at a temperature above 0, of which the likeliest is kept; faster-whisper's default."""

_FRAMES_PER_SECOND = 100
_MARGIN_FRAMES = 50
_LATEST_FIRST_TIMESTAMP = 50  # 1.0 s, faster-whisper's max_initial_timestamp
# Nobody speaks 20 tokens a second. A window that runs on is a loop, and the whole batch waits for its longest window.
_TOKENS_PER_SECOND = 20
_TOKENS_TO_SPARE = 32


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
    """A loaded faster-whisper model; see ``audioctl.engines.base.Engine``. Not for several threads at once."""

    def __init__(self, whisper: WhisperModel, model: str, options: WhisperOptions) -> None:
        self.model = model
        self.busy_seconds = 0.0
        self._whisper = whisper
        self._options = options
        self._batch_size = options.window_batch_size
        self._log_mel: LogMel = best_log_mel(whisper.feature_extractor, whisper.model.device)
        self._multilingual = bool(whisper.model.is_multilingual)
        self._tokenizer = Tokenizer(
            whisper.hf_tokenizer,
            self._multilingual,
            task="transcribe",
            language=options.language or "en",
        )
        self._suppressed_tokens = list(get_suppressed_tokens(self._tokenizer, [-1]) or ())

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        began = time.monotonic()
        try:
            return self._transcribe(windows)
        finally:
            self.busy_seconds += time.monotonic() - began

    def _transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        languages: dict[int, _Language] = {}
        attempts: list[list[Decoded]] = [[] for _ in windows]
        doubtful: list[int] = list(range(len(windows)))
        for temperature in TEMPERATURES:
            decode = partial(self._decode, windows=windows, languages=languages, temperature=temperature)
            for batch in self._batches(doubtful, windows):
                for index, result in zip(batch, self._in_halves(decode, batch), strict=True):
                    attempts[index].append(result)
            doubtful = [index for index in doubtful if attempts[index][-1].is_doubtful]
            if not doubtful:
                break
        return [
            self._transcript(window, best_of(tried) if tried[-1].is_doubtful else tried[-1], languages[window.clip])
            for window, tried in zip(windows, attempts, strict=True)
        ]

    def _batches(self, indices: Iterable[int], windows: Sequence[Window]) -> Iterator[list[int]]:
        """Windows of like length together, so that little is padding; longest first, so that memory runs out early.

        The windows of a clip stay together where they fit, because they decide on its language together.
        """
        clips: defaultdict[int, list[int]] = defaultdict(list)
        for index in indices:
            clips[windows[index].clip].append(index)
        by_length = sorted(
            clips.values(), key=lambda clip: max(len(windows[index].samples) for index in clip), reverse=True
        )
        waiting = [index for clip in by_length for index in clip]
        while waiting:
            # Read anew each time: running out of memory makes it smaller.
            yield waiting[: self._batch_size]
            waiting = waiting[self._batch_size :]

    def _in_halves(self, decode: Callable[[Sequence[int]], list[Decoded]], batch: Sequence[int]) -> list[Decoded]:
        """Decode a batch; when memory runs out, in halves, and smaller batches from then on."""
        try:
            return decode(batch)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise ModelError(
                    f"The recogniser {self.model} stopped: {error}",
                    hint="What is done is kept. Run `audioctl resume`, and look at `nvidia-smi` if it happens again.",
                ) from error
            if len(batch) == 1:
                raise ModelError(
                    f"The recogniser {self.model} has not enough memory for a single window: {error}",
                    hint='Use a smaller model, transcribe.compute_type = "int8_float16", or a larger GPU.',
                ) from error
        middle = (len(batch) + 1) // 2
        self._batch_size = min(self._batch_size, middle)
        return self._in_halves(decode, batch[:middle]) + self._in_halves(decode, batch[middle:])

    def _decode(
        self,
        batch: Sequence[int],
        windows: Sequence[Window],
        languages: dict[int, _Language],
        temperature: float,
    ) -> list[Decoded]:
        longest = max(len(windows[index].samples) for index in batch)
        features = self._log_mel([windows[index].samples for index in batch], self._padded_frames(longest))
        encoded = self._whisper.model.encode(ctranslate2.StorageView.from_array(features))
        self._decide_languages([windows[index] for index in batch], encoded, languages)
        prompts = [self._prompt(languages[windows[index].clip].code) for index in batch]
        max_new_tokens = _TOKENS_TO_SPARE + math.ceil(longest / SAMPLE_RATE * _TOKENS_PER_SECOND)
        if temperature > 0:
            # Sampling is reproducible for the same batch, so that the same archive gives the same transcripts.
            ctranslate2.set_random_seed(1)
            search = {
                "beam_size": 1,
                "num_hypotheses": BEST_OF,
                "sampling_topk": 0,
                "sampling_temperature": temperature,
            }
        else:
            search = {"beam_size": self._options.beam_size}
        results = self._whisper.model.generate(
            encoded,
            prompts,
            max_length=min(self._whisper.max_length, len(prompts[0]) + max_new_tokens),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppressed_tokens,
            max_initial_timestamp_index=_LATEST_FIRST_TIMESTAMP,
            **search,
        )
        return [self._decoded(result, temperature) for result in results]

    def _padded_frames(self, longest_samples: int) -> int:
        full = self._whisper.feature_extractor.nb_max_frames
        wanted = max(
            longest_samples // (SAMPLE_RATE // _FRAMES_PER_SECOND) + _MARGIN_FRAMES, self._options.shortest_frames
        )
        return int(min(full, wanted + wanted % 2))  # the encoder halves it

    def _decide_languages(
        self, windows: Sequence[Window], encoded: ctranslate2.StorageView, languages: dict[int, _Language]
    ) -> None:
        """Fill in the language of each clip that has none yet, by the votes of its windows in this batch.

        A window's vote weighs as much as it is long.
        """
        undecided = {window.clip for window in windows} - languages.keys()
        if not undecided:
            return
        if self._options.language or not self._multilingual:
            languages.update(dict.fromkeys(undecided, _Language(self._options.language or "en", None)))
            return
        votes: dict[int, defaultdict[str, float]] = {clip: defaultdict(float) for clip in undecided}
        for window, guesses in zip(windows, self._whisper.model.detect_language(encoded), strict=True):
            if window.clip in undecided:
                for token, probability in guesses:
                    votes[window.clip][token.strip("<|>")] += probability * len(window.samples)
        for clip, vote in votes.items():
            allowed = [code for code in vote if not self._options.languages or code in self._options.languages]
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

    def _decoded(self, result: ctranslate2.models.WhisperGenerationResult, temperature: float) -> Decoded:
        tokens = result.sequences_ids[0]
        text = self._tokenizer.decode(tokens).strip()
        # The score is the mean over the tokens; the end token, which has a probability too, is not among them.
        avg_logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
        return Decoded(
            tokens=tokens,
            text=text,
            avg_logprob=avg_logprob,
            no_speech_prob=result.no_speech_prob,
            compression_ratio=get_compression_ratio(text),
            temperature=temperature,
        )

    def _transcript(self, window: Window, decoded: Decoded, language: _Language) -> WindowTranscript:
        pieces = (
            []
            if decoded.is_silence
            else split_at_timestamps(decoded.tokens, self._tokenizer.timestamp_begin, window.duration_seconds)
        )
        segments = [
            Segment(
                start=round(start, 2),
                end=round(end, 2),
                text=text,
                avg_logprob=decoded.avg_logprob,
                no_speech_prob=decoded.no_speech_prob,
                compression_ratio=get_compression_ratio(text),
                temperature=decoded.temperature,
            )
            for start, end, tokens in pieces
            if (text := self._tokenizer.decode(tokens).strip())
        ]
        return WindowTranscript(segments, language.code, language.probability)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        sign in str(error).lower() for sign in ("out of memory", "alloc_failed", "bad_alloc")
    )
