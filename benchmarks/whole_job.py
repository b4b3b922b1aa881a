"""A whole archive, from its first byte to the last file on the storage server, the ways it is done.

    python -m benchmarks.whole_job [--clips 120] [--repeats 3] [--model bundled]
    python -m benchmarks.whole_job --model tiny-shaped --compute-type int8      (or base-shaped)
    python -m benchmarks.whole_job --stand-in 200
    python -m benchmarks.whole_job --model large-v3-turbo-shaped --device cuda --compute-type float16

(a) the old order     unpack all; for each clip two ffmpegs, one WhisperModel.transcribe, one ssh and one rsync
(a) uploads behind    the same, with the uploads eight at a time in the background
(b) batched pipeline  as the second, but with faster-whisper's BatchedInferencePipeline for each clip
(d) audioctl          everything at once, as process-tar does it

whisperX (c) is not among them; docs/performance.md says why. The ways get the same archive, model, compute type,
beam, threads and ssh server (a real one, on loopback), and take turns, so that a change in the machine's speed hits all
of them; ratios are medians over the turns. Models are loaded before the clock starts, once for all turns; the column
"with loading" counts that for a job of this one archive.

``--stand-in 200`` replaces the model by one that sleeps as a GPU of 200 x real time would compute, in every way:
--call-ms for each call, and the seconds of sound divided by 200. The batched pipeline has nothing to batch within a
clip of up to 30 s, so it is left out there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from faster_whisper import WhisperModel

from audioctl.demo import word_errors
from audioctl.engines.loading import find_model, load_engine
from audioctl.settings import Transcribe
from benchmarks.bounds import Bound, tell
from benchmarks.mixed_archive import MixedArchive, make_mixed_archive
from benchmarks.shaped_model import SHAPES, ShapedModel
from benchmarks.ways import (
    DAY,
    OLD_UPLOADS,
    SLOT,
    OldOrder,
    Ours,
    Outcome,
    Sshd,
    StandIn,
    Way,
    one_batched_call_a_clip,
    one_call_a_clip,
)

OLD, OLD_BEHIND, BATCHED, OURS = "(a) the old order", "(a) uploads behind", "(b) batched pipeline", "(d) audioctl"
SHAPED = "-shaped"


@dataclass
class Turns:
    """What a way did, turn by turn."""

    way: Way
    load_seconds: float
    seconds: list[float] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def take(self, archive: Path, work: Path) -> None:
        work.mkdir()
        began = time.perf_counter()
        outcome = self.way(archive, work)
        self.seconds.append(time.perf_counter() - began)
        self.outcomes.append(outcome)
        shutil.rmtree(work)

    @property
    def busy_share(self) -> float:
        return statistics.median(
            outcome.busy_seconds / seconds for outcome, seconds in zip(self.outcomes, self.seconds, strict=True)
        )

    def times_as_long_as(self, other: Turns) -> float:
        return statistics.median(own / theirs for own, theirs in zip(self.seconds, other.seconds, strict=True))


def main() -> None:
    arguments = parse_arguments()
    with (
        tempfile.TemporaryDirectory(prefix="audioctl-benchmark-") as name,
        Sshd(Path(name) / "sshd") as server,
    ):
        folder = Path(name)
        archive = make_mixed_archive(
            folder / f"0_{DAY}_{SLOT}.tar.xz", arguments.clips, 1, distinct_clips=60, short=arguments.short_clips
        )
        print(f"{archive}.")
        turns = stand_in_ways(arguments, server) if arguments.stand_in else real_ways(arguments, folder, server)
        for number in range(arguments.repeats):
            for name, one in turns.items():
                one.take(archive.path, folder / f"turn-{number}-{len(name)}")
                print(f"  turn {number + 1}: {name} took {one.seconds[-1]:.1f} s", flush=True)
        hears = not arguments.stand_in and not arguments.model.endswith(SHAPED)
        print_table(archive, turns, hears=hears)
        print_bounds(turns, is_stand_in=bool(arguments.stand_in))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--short-clips", action="store_true", help="the demo clips of 1-5 s, not clips of 2-30 s")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="bundled", help=f"also {', '.join(one + SHAPED for one in SHAPES)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compute-type", default="default")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--window", choices=("auto", "full", "longest"), default="full")
    parser.add_argument("--batch", type=int, default=40, help="extract.stream_batch_size")
    parser.add_argument("--stand-in", type=float, default=0.0, metavar="TIMES_REAL_TIME")
    parser.add_argument("--call-ms", type=float, default=20.0, help="what each call of the stand-in costs besides")
    return parser.parse_args()


def real_ways(arguments: argparse.Namespace, folder: Path, server: Sshd) -> dict[str, Turns]:
    model = arguments.model
    if model.endswith(SHAPED):
        ShapedModel(SHAPES[model.removesuffix(SHAPED)]).write(folder / model)
        model = str(folder / model)
    settings = Transcribe(
        model=model,
        device=arguments.device,
        compute_type=arguments.compute_type,
        beam_size=arguments.beam_size,
        window=arguments.window,
    )
    find = str(find_model(model))
    threads = len(os.sched_getaffinity(0))  # as ours, or the comparison would be of thread counts
    load = partial(
        WhisperModel, find, device=arguments.device, compute_type=arguments.compute_type, cpu_threads=threads
    )
    load()  # whoever is first reads it from disk and brings the libraries
    began = time.perf_counter()
    whisper = load()
    theirs_loaded = time.perf_counter()
    engine = load_engine(settings)
    our_load, their_load = time.perf_counter() - theirs_loaded, theirs_loaded - began
    print(f"{arguments.model}, {arguments.device}, beam {arguments.beam_size}, windows {arguments.window}.")
    hear = one_call_a_clip(whisper, arguments.beam_size)
    hear_batched = one_batched_call_a_clip(whisper, arguments.beam_size)
    return {
        OLD: Turns(OldOrder(hear, server), their_load),
        OLD_BEHIND: Turns(OldOrder(hear, server, OLD_UPLOADS), their_load),
        BATCHED: Turns(OldOrder(hear_batched, server, OLD_UPLOADS), their_load),
        OURS: Turns(Ours(engine, server, arguments.batch, settings), our_load),
    }


def stand_in_ways(arguments: argparse.Namespace, server: Sshd) -> dict[str, Turns]:
    stand_in = StandIn(arguments.stand_in, arguments.call_ms / 1000)
    print(f"A stand-in for a GPU of {arguments.stand_in:g} x real time, and {arguments.call_ms:g} ms a call.")
    # Any model that is there will do for ours: it is looked for before the work begins, and never loaded.
    ours = Ours(stand_in, server, arguments.batch, Transcribe(model="bundled"))
    return {
        OLD: Turns(OldOrder(stand_in.hear, server), 0.0),
        OLD_BEHIND: Turns(OldOrder(stand_in.hear, server, OLD_UPLOADS), 0.0),
        OURS: Turns(ours, 0.0),
    }


def print_table(archive: MixedArchive, turns: dict[str, Turns], *, hears: bool) -> None:
    clips, ours, theirs = len(archive.said), turns[OURS], turns[OLD].outcomes[-1].heard
    print(
        f"\n{'way':<22}{'clips/s':>9}{'with loading':>14}{'x real time':>13}{'time / ours':>13}{'recogniser busy':>17}"
        f"{'files there':>13}{'words wrong':>13}{'other than (a)':>16}"
    )
    for name, one in turns.items():
        seconds, outcome = statistics.median(one.seconds), one.outcomes[-1]
        with_loading = clips / (seconds + one.load_seconds)
        print(
            f"{name:<22}{clips / seconds:>9.2f}{with_loading:>14.2f}{archive.audio_seconds / seconds:>13.1f}"
            f"{one.times_as_long_as(ours):>13.2f}{one.busy_share:>17.0%}{f'{outcome.files} of {clips}':>13}"
            f"{f'{share_of_wrong_words(archive.said, outcome.heard):.1%}' if hears else '-':>13}"
            f"{share_of_wrong_words(theirs, outcome.heard):>16.1%}"
        )
    if (timing := turns[OURS].outcomes[-1].timing) is not None:
        waited = timing.wait_extract_seconds + timing.wait_convert_seconds + timing.wait_upload_seconds
        print(
            f"\nIn (d) the recogniser had its first clips after {timing.start_seconds:.1f} s, and waited {waited:.2f} "
            "s for others between its first and its last."
        )


def share_of_wrong_words(said: dict[str, str], heard: dict[str, str]) -> float:
    """A clip that nothing was heard of has all its words wrong."""
    errors = sum(word_errors(text, heard.get(name, "")) for name, text in said.items())
    return errors / max(1, sum(len(text.split()) for text in said.values()))


def print_bounds(turns: dict[str, Turns], *, is_stand_in: bool) -> None:
    ours = turns[OURS]
    if is_stand_in:
        bounds = [Bound("the old order, time / ours", turns[OLD].times_as_long_as(ours), at_least=10)]
    else:
        bounds = [
            Bound("the old order, time / ours", turns[OLD].times_as_long_as(ours), at_least=3),
            Bound("the batched pipeline, time / ours", turns[BATCHED].times_as_long_as(ours), at_least=1.5),
        ]
    tell(bounds)


if __name__ == "__main__":
    main()
