"""Puts a stand-in for the recogniser into jobs: found by Python at its start where this folder is on PYTHONPATH.

It hears the number that a clip says, and takes $STAND_IN_COST seconds for each second of audio, asleep, as a job is
while a GPU computes. Only as many jobs hear at a time as there are files in $STAND_IN_GPUS; others wait. The bundled
model is loaded all the same, so that a job has all that a real one has in memory.
"""

import fcntl
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if "STAND_IN_COST" in os.environ and "process-tar" in sys.orig_argv:
    from audioctl.clips import Segment, Window, WindowTranscript
    from audioctl.engines.whisper import WhisperEngine
    from benchmarks.long_load.clips import hear_number

    seconds_of_cost = float(os.environ["STAND_IN_COST"])
    gpus = sorted(Path(os.environ["STAND_IN_GPUS"]).iterdir())

    @contextmanager
    def a_gpu() -> Iterator[None]:
        for gpu in itertools.cycle(gpus):
            with gpu.open() as taken:
                try:
                    fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(0.005)
                else:
                    yield
                    return

    def hear(window: Window) -> WindowTranscript:
        heard = Segment(
            start=0.0,
            end=window.duration_seconds,
            text=hear_number(window.samples),
            avg_logprob=-0.1,
            no_speech_prob=0.0,
            compression_ratio=1.0,
        )
        return WindowTranscript([heard], "en", 1.0)

    def transcribe(engine: WhisperEngine, windows: Sequence[Window]) -> list[WindowTranscript]:
        with a_gpu():
            began = time.monotonic()
            heard = [hear(window) for window in windows]
            ready_at = began + seconds_of_cost * sum(window.duration_seconds for window in windows)
            time.sleep(max(0.0, ready_at - time.monotonic()))
            engine.busy_seconds += time.monotonic() - began
        return heard

    WhisperEngine.transcribe = transcribe  # type: ignore[method-assign, assignment]
