"""What a lower complexity of the Opus encoder saves, and what it costs: ``python -m benchmarks.opus_quality``.

Clips of the bundled voices are encoded with each complexity at the same bit rate, and decoded again. Printed are

- the time of encoding, as a ratio to that of the complexity we use;
- the distance to the original: the root mean square difference of the mel spectra in dB, over the frames that hold
  sound, down to 60 dB below the loudest;
- the words that the bundled model hears otherwise in the copy than in the original.

The voices are synthetic, and nobody listened: a smaller distance is better, and no more is said than that.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from faster_whisper.feature_extractor import FeatureExtractor

from audioctl.audio.decode import ClipDecoder
from audioctl.audio.opus import COMPRESSION_LEVEL, DEFAULT_BITRATE
from audioctl.audio.speech import SpeechFinder
from audioctl.clips import SAMPLE_RATE
from audioctl.demo import word_errors
from audioctl.engines.loading import load_engine
from audioctl.settings import Transcribe
from benchmarks.synthetic_day import make_clips

COMPLEXITIES = (10, 8, 7, 5, 3, 2, 1, 0)
"""Of libopus 1.x all that differ for speech: 9 is as 8, 6 nearly as 7, 4 as 5."""

_FFT, _HOP = 400, 160
_RANGE_DB = 60.0
_SOUND_DB = 40.0
"""Frames so far below the loudest one hold no sound."""

Samples = npt.NDArray[np.int16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    clips = [decode(clip.content, "clip.mp3") for clip in make_clips(7, arguments.clips)]
    heard = hear(clips)
    words = sum(len(text.split()) for text in heard)
    seconds: defaultdict[int, list[float]] = defaultdict(list)
    copies: dict[int, list[bytes]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.repeats):
            for complexity in COMPLEXITIES:
                began = time.process_time()
                copies[complexity] = [encode(clip, complexity, Path(folder) / "copy.opus") for clip in clips]
                seconds[complexity].append(time.process_time() - began)
    ours = statistics.median(seconds[COMPRESSION_LEVEL])
    audio_seconds = sum(map(len, clips)) / SAMPLE_RATE
    print(f"{len(clips)} clips, {audio_seconds:.0f} s, {words} words, {DEFAULT_BITRATE // 1000} kbit/s, voip")
    print("complexity  time / ours  kbit/s  distance  words heard otherwise")
    for complexity, made in copies.items():
        decoded = [decode(copy, "clip.opus") for copy in made]
        distance = statistics.mean(distance_db(one, two) for one, two in zip(clips, decoded, strict=True))
        otherwise = sum(word_errors(before, after) for before, after in zip(heard, hear(decoded), strict=True))
        print(
            f"{complexity:>10}{statistics.median(seconds[complexity]) / ours:>13.2f}"
            f"{sum(map(len, made)) * 8 / audio_seconds / 1000:>8.1f}{distance:>7.2f} dB{otherwise:>15}"
        )


def encode(samples: Samples, complexity: int, path: Path) -> bytes:
    """As ``audioctl.audio.opus`` does it, with another complexity."""
    with av.open(path, "w", format="ogg") as container:
        options = {"application": "voip", "compression_level": str(complexity)}
        stream = container.add_stream(
            "libopus", rate=SAMPLE_RATE, layout="mono", bit_rate=DEFAULT_BITRATE, options=options
        )
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def decode(content: bytes, name: str) -> Samples:
    return np.concatenate(list(ClipDecoder(content, name).blocks()))


def hear(clips: list[Samples]) -> list[str]:
    engine = load_engine(Transcribe(model="bundled", device="cpu"))
    windows = []
    for number, samples in enumerate(clips):
        finder = SpeechFinder(number)
        finder.push(samples)
        windows += finder.finish()
    texts: defaultdict[int, list[str]] = defaultdict(list)
    for window, transcript in zip(windows, engine.transcribe(windows), strict=True):
        texts[window.clip] += [segment.text for segment in transcript.segments]
    return [" ".join(texts[number]) for number in range(len(clips))]


def distance_db(original: Samples, copy: Samples) -> float:
    length = min(len(original), len(copy))
    before, after = mel_spectrum_db(original[:length]), mel_spectrum_db(copy[:length])
    floor = before.max() - _RANGE_DB
    holds_sound = before.max(axis=1) > before.max() - _SOUND_DB
    difference = np.maximum(before, floor) - np.maximum(after, floor)
    return float(np.sqrt((difference[holds_sound] ** 2).mean(axis=1)).mean())


def mel_spectrum_db(samples: Samples) -> npt.NDArray[np.float64]:
    """Of shape (frames, mel bins)."""
    starts = np.arange(0, len(samples) - _FFT, _HOP)
    frames = samples[starts[:, np.newaxis] + np.arange(_FFT)] * np.hanning(_FFT) / 32768
    power = np.abs(np.fft.rfft(frames)) ** 2 @ FeatureExtractor().mel_filters.T
    spectrum: npt.NDArray[np.float64] = 10 * np.log10(power + 1e-10)
    return spectrum


if __name__ == "__main__":
    main()
