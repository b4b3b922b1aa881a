"""What converting clips costs, against the usual ways: ``python -m benchmarks.convert [--seconds 10 60]``.

Every way gets the same MP3 clips and makes the same two things of each: samples at 16 kHz, mono, for the recogniser,
and an Opus copy of 32 kbit/s. The ways take turns, so that a change in the machine's speed hits all of them, and the
medians are printed as ratios: of time, and of processor time, which a busy machine distorts less. Ours finds the speech
as well, which the others do not; a row of its own shows it without. ffmpeg encodes with libopus' complexity 10, its
default, and ours with 5; the last row is ffmpeg with 5, too.
"""

import argparse
import hashlib
import io
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import psutil

from audioctl.audio.decode import ClipDecoder
from audioctl.audio.opus import COMPRESSION_LEVEL, OpusWriter
from audioctl.audio.speech import SpeechFinder
from audioctl.clips import SAMPLE_RATE, Member, MemberBatch
from audioctl.pipeline.convert import Converter
from benchmarks.bounds import Bound, tell

FFMPEG = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1"]
TO_WAV = ["-map", "0:a", "-ac", "1", "-ar", str(SAMPLE_RATE), "-c:a", "pcm_s16le"]
TO_OPUS = ["-map", "0:a", "-ac", "1", "-ar", str(SAMPLE_RATE), "-c:a", "libopus", "-b:a", "32k"]
TO_OPUS += ["-application", "voip"]
OUR_LEVEL = ["-compression_level", str(COMPRESSION_LEVEL)]

OURS, WITHOUT_SPEECH = "audioctl", "audioctl, without finding speech"
PAIR, PAIR_LIKE_OURS = "two ffmpegs for each clip", "the same with our Opus complexity"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--seconds", type=float, nargs=2, default=[10, 60], metavar=("SHORTEST", "LONGEST"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments.clips, arguments.seconds, arguments.workers, arguments.repeats)


def compare(folder: Path, clip_count: int, lengths: list[float], workers: int, repeats: int) -> None:
    source = random.Random(clip_count)
    seconds = [source.uniform(*lengths) for _ in range(clip_count)]
    clips = [folder / f"{number}.mp3" for number in range(clip_count)]
    for clip, duration in zip(clips, seconds, strict=True):
        clip.write_bytes(speech_like_mp3(duration))
    audio_seconds = sum(seconds)
    with Converter(workers, folder) as converter, Converter(workers, folder, vad=False) as cutter:
        batch = MemberBatch(0, [member(number, clip) for number, clip in enumerate(clips)], digest="")
        for one in (converter, cutter):
            one.convert(MemberBatch(0, batch.members[:workers], digest=""))  # the workers start once in a job
        ways: dict[str, Callable[[], object]] = {
            OURS: lambda: converter.convert(batch),
            WITHOUT_SPEECH: lambda: cutter.convert(batch),
            "one ffmpeg for each clip": lambda: run_side_by_side(one_ffmpeg, clips, workers),
            PAIR: lambda: run_side_by_side(partial(two_ffmpegs, TO_OPUS), clips, workers),
            PAIR_LIKE_OURS: lambda: run_side_by_side(partial(two_ffmpegs, [*TO_OPUS, *OUR_LEVEL]), clips, workers),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        processor_times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                before, start = processor_seconds(), time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
                processor_times[name].append(processor_seconds() - before)
    ours = statistics.median(times[OURS])
    our_processor_time = statistics.median(processor_times[OURS])
    print(
        f"{clip_count} clips of {lengths[0]:g}-{lengths[1]:g} s, {audio_seconds / 60:.0f} minutes of sound, "
        f"{workers} at a time, median of {repeats}:"
    )
    for name in ways:
        median = statistics.median(times[name])
        processor_ratio = statistics.median(processor_times[name]) / our_processor_time
        print(
            f"  {name:42} {median / ours:5.2f} x our time  {processor_ratio:5.2f} x our processor time"
            f"  {audio_seconds / median:7.0f} x real time"
        )
    by_pair = [pair / own for pair, own in zip(processor_times[PAIR], processor_times[OURS], strict=True)]
    without = [pair / own for pair, own in zip(processor_times[PAIR], processor_times[WITHOUT_SPEECH], strict=True)]
    tell(
        [
            Bound("a pair of ffmpegs, processor time / ours", statistics.median(by_pair), at_least=3),
            Bound("the same, without finding speech", statistics.median(without), at_least=3),
        ]
    )
    print("\nWhat ours is spent on, in one process:")
    for name, share in shares(clips).items():
        print(f"  {name:26} {share:5.0%}")


def speech_like_mp3(duration_seconds: float) -> bytes:
    """Noise with the loudness of syllables and pauses, 44.1 kHz, 64 kbit/s: codecs work on it as on a voice."""
    rate = 44_100
    generator = np.random.default_rng(round(duration_seconds * 1000))
    noise = generator.standard_normal(round(duration_seconds * rate))
    voice = np.convolve(noise, np.hanning(24), mode="same")
    times = np.arange(len(voice)) / rate
    syllables = np.clip(np.sin(2 * np.pi * 4 * times), 0, 1) * (np.sin(2 * np.pi * 0.2 * times) > -0.6)
    samples: npt.NDArray[np.int16] = (2500 * voice * syllables).clip(-32768, 32767).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout="mono", bit_rate=64_000)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16p", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def member(ordinal: int, clip: Path) -> Member:
    content = clip.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Member(ordinal, clip.name, f"{clip.name}.opus", len(content), digest, content)


def run_side_by_side(work: Callable[[Path], None], clips: list[Path], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, clips))


def one_ffmpeg(clip: Path) -> None:
    wav, opus = clip.with_suffix(".wav"), clip.with_suffix(".one.opus")
    subprocess.run([*FFMPEG, "-i", clip, *TO_WAV, wav, *TO_OPUS, opus], check=True)


def two_ffmpegs(to_opus: list[str], clip: Path) -> None:
    subprocess.run([*FFMPEG, "-i", clip, *TO_WAV, clip.with_suffix(".wav")], check=True)
    subprocess.run([*FFMPEG, "-i", clip, *to_opus, clip.with_suffix(".two.opus")], check=True)


def shares(clips: list[Path]) -> dict[str, float]:
    """How our time divides, measured step by step on the same clips."""
    times = dict.fromkeys(("decoding and resampling", "finding speech", "encoding Opus"), 0.0)
    for clip in clips:
        start = time.perf_counter()
        blocks = list(ClipDecoder(clip, clip.name).blocks())
        decoded = time.perf_counter()
        find_speech(blocks)
        found = time.perf_counter()
        write_opus(clip.with_suffix(".share.opus"), blocks)
        times["decoding and resampling"] += decoded - start
        times["finding speech"] += found - decoded
        times["encoding Opus"] += time.perf_counter() - found
    return {name: spent / sum(times.values()) for name, spent in times.items()}


def find_speech(blocks: list[npt.NDArray[np.int16]]) -> None:
    finder = SpeechFinder(0)
    for samples in blocks:
        finder.push(samples)
    finder.finish()


def write_opus(path: Path, blocks: list[npt.NDArray[np.int16]]) -> None:
    with OpusWriter(path) as writer:
        for samples in blocks:
            writer.write(samples)


def processor_seconds() -> float:
    """Of this process, of the workers that live, and of the programs that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    living = sum(one.cpu_times().user + one.cpu_times().system for one in processes)
    return ended.ru_utime + ended.ru_stime + float(living)


if __name__ == "__main__":
    main()
