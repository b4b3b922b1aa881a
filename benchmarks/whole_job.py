"""A whole archive, three ways, in one run: ``python -m benchmarks.whole_job [--clips 120] [--repeats 3]``.

audioctl      everything at once, as ``process-tar`` does it
in sequence   the same stages of ours, one after the other, each waiting for the one before
the old way   unpack everything, then for each clip two ffmpeg programs, one call of the recogniser, one rsync

Each way starts from the archive and ends with every clip transcribed and its Opus copy in another folder. The model
is loaded before the clock starts, for all three: it costs the same everywhere, once. Ratios are medians of the
repeats; the ways take turns, so that a change in the machine's speed hits all of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from faster_whisper import WhisperModel

from audioctl.clips import ConvertedBatch
from audioctl.data import small_model_path
from audioctl.demo import word_errors
from audioctl.engines.base import Engine
from audioctl.engines.loading import load_engine
from audioctl.names import ClipNames
from audioctl.pipeline.convert import Converter
from audioctl.pipeline.counters import Counters, Counts
from audioctl.pipeline.decompress import DecompressedFile
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.extract import read_archive
from audioctl.pipeline.run import ArchiveJob, Surroundings, process_archive
from audioctl.pipeline.transcribe import transcribe
from audioctl.pipeline.upload import Uploader
from audioctl.settings import Extract, Paths, Settings, Transcribe, Upload
from audioctl.storage.destination import parse_destination
from benchmarks.synthetic_day import make_synthetic_archive

DAY, SLOT = "2025-01-25", "12_30"
WORKERS = 2
FFMPEG = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1"]


@dataclass(slots=True)
class Way:
    """One way's runs: seconds of wall time, and what each clip was heard to say in the last one."""

    run: Callable[[Path], list[str]]
    seconds: list[float]
    heard: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--window", choices=("auto", "full"), default="auto", help="auto is short for bundled only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audioctl-benchmark-") as folder:
        archive = Path(folder) / f"0_{DAY}_{SLOT}.tar.xz"
        said = make_synthetic_archive(archive, arguments.clips, seed=1)
        settings = Transcribe(model=arguments.model, device=arguments.device, window=arguments.window)
        compare(Path(folder), archive, said, settings, arguments.repeats)


def compare(folder: Path, archive: Path, said: list[str], settings: Transcribe, repeats: int) -> None:
    engine = load_engine(settings)
    model = str(small_model_path()) if settings.model == "bundled" else settings.model
    # With as many threads as ours, or the comparison would be of thread counts.
    whisper = WhisperModel(
        model, device=settings.device, compute_type=settings.compute_type, cpu_threads=len(os.sched_getaffinity(0))
    )
    counts: list[Counts] = []
    stages: list[dict[str, float]] = []
    ways = {
        "audioctl": Way(lambda work: all_at_once(archive, work, settings, engine, counts), [], []),
        "in sequence": Way(lambda work: in_sequence(archive, work, engine, stages), [], []),
        "the old way": Way(lambda work: the_old_way(archive, work, whisper), [], []),
    }
    for _ in range(repeats):
        for name, way in ways.items():
            work = folder / name.replace(" ", "-")
            work.mkdir()
            began = time.perf_counter()
            way.heard = way.run(work)
            way.seconds.append(time.perf_counter() - began)
            shutil.rmtree(work)
    ours = ways["audioctl"].seconds
    print(
        f"{len(said)} clips, {archive.stat().st_size / 1e6:.0f} MB of tar.xz, {counts[-1].audio_seconds:.0f} s of audio"
    )
    print(f"{'way':<14}{'clips/s':>9}{'time / ours':>13}{'words wrong':>13}")
    for name, way in ways.items():
        ratio = statistics.median(other / own for own, other in zip(ours, way.seconds, strict=True))
        errors = sum(word_errors(truth, heard) for truth, heard in zip(said, way.heard, strict=True))
        words = sum(len(truth.split()) for truth in said)
        print(f"{name:<14}{len(said) / statistics.median(way.seconds):>9.1f}{ratio:>13.2f}{errors / words:>12.1%}")
    busy = statistics.median(look.transcribe_busy_seconds / look.elapsed_seconds for look in counts)
    print(f"\nThe recogniser was at work for {busy:.0%} of our wall time.")
    shares = {name: statistics.median(run[name] / sum(run.values()) for run in stages) for name in stages[0]}
    print("Of the stages in sequence: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    print(
        "What bounds it: with the recogniser on the CPU, all stages share the cores, so that doing them at once gains\n"
        "what a single stage leaves idle; the longest of them is the bound where the recogniser has a GPU of its own."
    )


def all_at_once(
    archive: Path, work: Path, transcription: Transcribe, engine: Engine, counts: list[Counts]
) -> list[str]:
    settings = Settings(
        paths=Paths(state_dir=str(work / "state"), scratch=str(work / "scratch")),
        extract=Extract(stream_batch_size=50),
        transcribe=transcription,
        upload=Upload(destination=str(work / "storage"), max_concurrent_uploads=2),
    )
    engine.busy_seconds = 0.0
    counters = Counters()
    around = Surroundings(lambda: engine, counters, DrainRequest(1), print)
    process_archive(ArchiveJob(DAY, SLOT, archive), settings, around)
    counts.append(counters.look())
    return _journalled_texts(work / "state" / "journals" / DAY / f"{SLOT}.jsonl")


def in_sequence(archive: Path, work: Path, engine: Engine, stages: list[dict[str, float]]) -> list[str]:
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage] = now - clock
        clock = now

    with DecompressedFile(archive) as file:
        batches = list(
            read_archive(
                file,
                names=ClipNames(DAY, SLOT),
                batch_size=50,
                max_member_size_bytes=1 << 30,
                spool_above_bytes=1 << 24,
                spool_dir=work,
            )
        )
    lap("extract")
    with Converter(WORKERS, work) as converter:
        converted: list[ConvertedBatch] = [converter.convert(batch) for batch in batches]
    lap("convert")
    records = [record for batch in converted for record in transcribe(batch, engine, 100)]
    lap("transcribe")
    with Uploader(parse_destination(str(work / "storage")), max_concurrent_uploads=2) as uploader:
        uploads = [uploader.submit([clip.opus for clip in batch.clips]) for batch in converted]
        assert not any(upload.result().failed for upload in uploads)
    lap("upload")
    stages.append(seconds)
    return [record.text or "" for record in records]


def the_old_way(archive: Path, work: Path, whisper: WhisperModel) -> list[str]:
    subprocess.run(["tar", "-xJf", archive, "-C", work], check=True)
    heard = []
    for clip in sorted(work.rglob("*.mp3")):
        wav, opus = clip.with_suffix(".wav"), clip.with_suffix(".opus")
        subprocess.run([*FFMPEG, "-i", clip, "-ac", "1", "-ar", "16000", wav], check=True)
        subprocess.run([*FFMPEG, "-i", clip, "-ac", "1", "-c:a", "libopus", "-b:a", "32k", opus], check=True)
        segments, _ = whisper.transcribe(str(wav), beam_size=5, vad_filter=True)
        heard.append(" ".join(segment.text.strip() for segment in segments))
        subprocess.run(["rsync", "-a", "-z", "--mkpath", opus, f"{work}/storage/{opus.name}"], check=True)
    return heard


def _journalled_texts(journal: Path) -> list[str]:
    events = [msgspec.json.decode(line) for line in journal.read_bytes().splitlines()]
    clips = sorted((event["clip"] for event in events if event["event"] == "clip"), key=lambda clip: clip["ordinal"])
    return [clip["text"] for clip in clips]


if __name__ == "__main__":
    main()
