"""What converting clips costs, against the usual ways: ``python benchmarks/convert.py [--clips 120] [--workers 2]``.

Every way gets the same MP3 clips of 10-60 s and makes the same two things of each: samples at 16 kHz, mono, for the
recogniser, and an Opus copy of 32 kbit/s. The ways take turns, so that a change in the machine's speed hits all of
them, and the medians are printed as ratios: of time, and of processor time, which a busy machine distorts less. Ours
finds the speech as well; the others do not.
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
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import psutil

from audioctl.audio.decode import ClipDecoder
from audioctl.audio.opus import OpusWriter
from audioctl.audio.speech import SpeechFinder
from audioctl.clips import SAMPLE_RATE, Member, MemberBatch
from audioctl.pipeline.convert import Converter

FFMPEG = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1"]
TO_WAV = ["-map", "0:a", "-ac", "1", "-ar", str(SAMPLE_RATE), "-c:a", "pcm_s16le"]
TO_OPUS = ["-map", "0:a", "-ac", "1", "-ar", str(SAMPLE_RATE), "-c:a", "libopus", "-b:a", "32k"]
TO_OPUS += ["-application", "voip"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments.clips, arguments.workers, arguments.repeats)


def compare(folder: Path, clip_count: int, workers: int, repeats: int) -> None:
    seconds = [random.Random(clip_count).uniform(10, 60) for _ in range(clip_count)]
    clips = [folder / f"{number}.mp3" for number in range(clip_count)]
    for clip, duration in zip(clips, seconds, strict=True):
        clip.write_bytes(speech_like_mp3(duration))
    audio_seconds = sum(seconds)
    with Converter(workers, folder) as converter:
        batch = MemberBatch(0, [member(number, clip) for number, clip in enumerate(clips)], digest="")
        converter.convert(MemberBatch(0, batch.members[:workers], digest=""))  # the workers start once in a job
        ways: dict[str, Callable[[], object]] = {
            "audioctl": lambda: converter.convert(batch),
            "one ffmpeg for each clip": lambda: run_side_by_side(one_ffmpeg, clips, workers),
            "two ffmpegs for each clip": lambda: run_side_by_side(two_ffmpegs, clips, workers),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        processor_times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                before, start = processor_seconds(), time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
                processor_times[name].append(processor_seconds() - before)
    ours = statistics.median(times["audioctl"])
    our_processor_time = statistics.median(processor_times["audioctl"])
    print(f"{clip_count} clips, {audio_seconds / 60:.0f} minutes of sound, {workers} at a time, median of {repeats}:")
    for name in ways:
        median = statistics.median(times[name])
        processor_ratio = statistics.median(processor_times[name]) / our_processor_time
        print(
            f"  {name:26} {median / ours:5.2f} x our time  {processor_ratio:5.2f} x our processor time"
            f"  {audio_seconds / median:7.0f} x real time"
        )
    print("What ours is spent on, in one process:")
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


def two_ffmpegs(clip: Path) -> None:
    subprocess.run([*FFMPEG, "-i", clip, *TO_WAV, clip.with_suffix(".wav")], check=True)
    subprocess.run([*FFMPEG, "-i", clip, *TO_OPUS, clip.with_suffix(".two.opus")], check=True)


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
