"""What batches across clips gain: ``python benchmarks/transcribe.py [--clips 48] [--model bundled] [--device cpu]``.

Our engine and faster-whisper hear the same decoded clips with the same beam and detect the language of each. The
ways take turns, so that a change in the machine's speed hits all of them, and the medians are printed as ratios, with
the share of words that are the same as faster-whisper's. Loading the models and decoding the clips are not counted.

Then the same batches go through a stand-in for a GPU that only waits, at so many times real time: how much of the time
it is at work, with the features of the next batch computed meanwhile and without.

The shipped clips are 1-5 s long. With a model that wants full windows their real gain is on a GPU: on a CPU a batch of
full windows costs as much as the windows one by one.
"""

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel

from audioctl.audio.decode import ClipDecoder
from audioctl.clips import SAMPLE_RATE, Window, WindowTranscript
from audioctl.demo import demo_clips, word_errors
from audioctl.engines.batching import Batcher, Item, Ready, Result
from audioctl.engines.features import Features
from audioctl.engines.loading import FULL_WINDOW_FRAMES, find_model, load_engine
from audioctl.engines.whisper import WhisperEngine
from audioctl.settings import Transcribe

OURS = "audioctl, window = auto"
IN_TURN = "the same, features not computed ahead"
OURS_FAST = "the same, profile = fast"
OURS_FULL = "audioctl, window = full"
FULL_FAST = "the same, profile = fast (full)"
STAND_IN_SPEEDS = (200, 1000)
STAND_IN_BATCH = 32
THEIRS = "faster-whisper, clip by clip"
THEIR_BATCHES = "its batched pipeline, clip by clip"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--model", default="bundled", help="name or folder, as transcribe.model takes it")
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="cpu")
    parser.add_argument("--compute-type", default="default")
    parser.add_argument("--window-batch-size", type=int, default=0, help="0 has the engine choose")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    settings = {
        "model": arguments.model,
        "device": arguments.device,
        "compute_type": arguments.compute_type,
        "window_batch_size": arguments.window_batch_size,
        "beam_size": arguments.beam_size,
    }
    compare(settings, make_windows(arguments.clips), arguments.repeats)


def compare(settings: dict[str, Any], windows: list[Window], repeats: int) -> None:
    fast = {**settings, "profile": "fast", "beam_size": 0}
    ours = load_engine(Transcribe(**settings, window="auto"))
    in_turn = load_engine(Transcribe(**settings, window="auto"))
    in_turn._batcher = InTurn(in_turn.options.window_batch_size)
    ours_fast = load_engine(Transcribe(**fast, window="auto"))
    full = load_engine(Transcribe(**settings, window="full"))
    full_fast = load_engine(Transcribe(**fast, window="full"))
    whisper = WhisperModel(
        str(find_model(settings["model"])),
        device=settings["device"],
        compute_type=settings["compute_type"],
        cpu_threads=len(os.sched_getaffinity(0)),
    )
    beam_size = settings["beam_size"]
    ways: dict[str, Callable[[Sequence[Window]], list[str]]] = {
        OURS: lambda windows: texts(ours.transcribe(windows)),
        IN_TURN: lambda windows: texts(in_turn.transcribe(windows)),
        OURS_FAST: lambda windows: texts(ours_fast.transcribe(windows)),
        OURS_FULL: lambda windows: texts(full.transcribe(windows)),
        FULL_FAST: lambda windows: texts(full_fast.transcribe(windows)),
        THEIRS: lambda windows: one_by_one(whisper, windows, beam_size=beam_size),
        THEIR_BATCHES: lambda windows: one_by_one(BatchedInferencePipeline(whisper), windows, beam_size=beam_size),
    }
    heard: dict[str, list[str]] = {}
    times: defaultdict[str, list[float]] = defaultdict(list)
    for way in ways.values():
        way(windows[:1])  # the first call allocates
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            heard[name] = way(windows)
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    seconds = sum(window.duration_seconds for window in windows)
    print(
        f"{len(windows)} clips, {seconds:.0f} s of speech, {settings['model']}, {settings['device']}, beam {beam_size}:"
    )
    for name, median in medians.items():
        print(
            f"  {name:35} {median / medians[OURS]:6.2f} x our time  {seconds / median:7.0f} x real time"
            f"  {same_words(heard[THEIRS], heard[name]):7.2%} of faster-whisper's words"
        )
    for name, engine in ((OURS, ours), (OURS_FULL, full)):
        shares = ", ".join(f"{part} {share:.0%}" for part, share in parts_of(engine, windows).items())
        print(f"  {name} is bound by: {shares}")
    of_16_seconds = [repeated(window, 16) for window in islice(cycle(windows), 4 * STAND_IN_BATCH)]
    for speed in STAND_IN_SPEEDS:
        ahead, after = (busy_share(batcher, full, of_16_seconds, speed) for batcher in (Batcher, InTurn))
        print(f"  a GPU of {speed} x real time is busy {ahead:.0%} of the time; {after:.0%} without the thread ahead")


def make_windows(count: int) -> list[Window]:
    """As many clips as asked for, each whole; the shipped ones repeat."""
    return [
        Window(number, 0.0, np.concatenate(list(ClipDecoder(clip.read(), clip.file).blocks())))
        for number, clip in enumerate(islice(cycle(demo_clips()), count))
    ]


def repeated(window: Window, seconds: int) -> Window:
    """The same sound again and again, up to this length."""
    return replace(window, samples=np.resize(window.samples, seconds * SAMPLE_RATE))


def texts(transcripts: Sequence[WindowTranscript]) -> list[str]:
    return [" ".join(segment.text for segment in transcript.segments) for transcript in transcripts]


def one_by_one(recogniser: Any, windows: Sequence[Window], beam_size: int) -> list[str]:
    heard = []
    for window in windows:
        assert len(window.samples) <= 30 * SAMPLE_RATE
        segments, _ = recogniser.transcribe(window.samples.astype(np.float32) / 32768, beam_size=beam_size)
        heard.append(" ".join(segment.text.strip() for segment in segments))
    return heard


def same_words(reference: Sequence[str], heard: Sequence[str]) -> float:
    errors = sum(word_errors(said, other) for said, other in zip(reference, heard, strict=True))
    return 1 - errors / max(1, sum(len(said.split()) for said in reference))


def parts_of(engine: WhisperEngine, windows: Sequence[Window]) -> dict[str, float]:
    """The shares of the engine's time, measured by calls through a stopwatch, features and model in turn."""
    times: dict[str, float] = {"features": 0.0, "encode": 0.0, "detect_language": 0.0, "generate": 0.0}
    batcher, log_mel, model = engine._batcher, engine._log_mel, engine._whisper.model
    engine._batcher = InTurn(batcher.size)
    engine._log_mel = stopwatch(log_mel, "features", times)
    engine._whisper.model = TimedModel(model, times)
    began = time.perf_counter()
    engine.transcribe(windows)
    total = time.perf_counter() - began
    engine._batcher, engine._log_mel, engine._whisper.model = batcher, log_mel, model
    return {part: spent / total for part, spent in times.items()} | {"the rest": 1 - sum(times.values()) / total}


def busy_share(
    new_batcher: Callable[[int], Batcher], engine: WhisperEngine, windows: list[Window], speed: int
) -> float:
    """Of the time in which the windows go through a model that does nothing but wait, the share that it waits."""
    busy = 0.0

    def features(batch: Sequence[Window]) -> Features:
        return engine._log_mel([window.samples for window in batch], FULL_WINDOW_FRAMES)

    def wait(batch: Sequence[Window], _features: Features) -> Sequence[Window]:
        nonlocal busy
        start = time.perf_counter()
        time.sleep(sum(window.duration_seconds for window in batch) / speed)
        busy += time.perf_counter() - start
        return batch

    began = time.perf_counter()
    new_batcher(STAND_IN_BATCH).run(features, wait, windows)
    return busy / (time.perf_counter() - began)


class InTurn(Batcher):
    """Each batch is prepared when the one before it is done."""

    def run(
        self,
        prepare: Callable[[Sequence[Item]], Ready],
        work: Callable[[Sequence[Item], Ready], Sequence[Result]],
        items: Sequence[Item],
    ) -> list[Result]:
        batches = [items[start : start + self.size] for start in range(0, len(items), self.size)]
        return [result for batch in batches for result in work(batch, prepare(batch))]


class TimedModel:
    """CTranslate2's model, with a stopwatch on its methods."""

    def __init__(self, model: Any, times: dict[str, float]) -> None:
        self._model = model
        self._times = times

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        return stopwatch(value, name, self._times) if name in self._times else value


def stopwatch(function: Callable[..., Any], name: str, times: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            times[name] += time.perf_counter() - began

    return timed


if __name__ == "__main__":
    main()
