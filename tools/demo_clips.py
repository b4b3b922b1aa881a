"""Makes the spoken clips of the demo and the tests: MP3 files and a manifest of what they say.

    python -m tools.demo_clips

espeak-ng speaks phrases that the small model was never trained on. A phrase is kept when the small model hears every
word of it and its language, whichever way it listens, so that whoever uses the clips can check word for word: they
show that a program works, and say nothing about how well the model hears (evaluate.py does).

Needs the package's [worker] extra and espeak-ng. The files it makes are committed, so nobody else needs them.
"""

from __future__ import annotations

import argparse
import io
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from faster_whisper import WhisperModel

from audioctl.data import demo_clips_path, small_model_path
from audioctl.demo import SILENT_CLIP, DemoClip, word_errors
from tools.mp3 import encode_mp3
from tools.small_model.evaluate import EVALUATED_PHRASES
from tools.small_model.phrases import Phrase, held_out_phrases
from tools.small_model.synthesis import Synthesizer

# More words than six, and the model needs timestamps to keep count of them.
_WORDS = range(2, 7)
_WAYS_TO_LISTEN: tuple[dict[str, Any], ...] = (
    {},
    {"beam_size": 1},
    {"vad_filter": True},
    {"without_timestamps": True},
)
_CLIPS_BY_LANGUAGE = {"en": 38, "de": 10}
_MOST_CLIPS_PER_VOICE = 3
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.5, 8.0
_SILENCE_SECONDS = 3.0
_SILENCE_SAMPLE_RATE = 22_050
_SEED = 2025
_BITS_PER_SECOND = 32_000


def recordings() -> Iterator[tuple[Phrase, float, bytes]]:
    """Held-out phrases that evaluation leaves alone, each with its length in seconds and as MP3: some loud, some
    quiet, with a pause before and after and the noise floor of a cheap microphone."""
    source = np.random.default_rng(_SEED)
    synthesizer = Synthesizer()
    for place, (phrase, _) in enumerate(held_out_phrases(synthesizer)):
        if place < EVALUATED_PHRASES or len(phrase.words) not in _WORDS:
            continue
        speech, _ = synthesizer.sound(phrase.words, phrase.voice)
        rate = synthesizer.sample_rate
        before, after = (np.zeros(int(source.uniform(0.2, 0.8) * rate), np.float32) for _ in range(2))
        sound = np.concatenate([before, speech * source.uniform(0.4, 1.0), after])
        sound += source.standard_normal(len(sound)) * 10 ** source.uniform(-4, -3)
        seconds = len(sound) / rate
        if _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
            yield phrase, seconds, encode_mp3(np.clip(sound, -1, 1), rate, _BITS_PER_SECOND)


def is_heard(model: WhisperModel, phrase: Phrase, content: bytes) -> bool:
    """Whether the model hears the words and tells the language, with beam search, without, and so on."""
    for way in _WAYS_TO_LISTEN:
        segments, info = model.transcribe(io.BytesIO(content), **way)
        if word_errors(phrase.text, "".join(segment.text for segment in segments)) or info.language != phrase.language:
            return False
    return True


def choose(model: WhisperModel) -> list[tuple[Phrase, float, bytes]]:
    """As many recordings of each language as wanted, from many voices, in mixed order."""
    chosen: list[tuple[Phrase, float, bytes]] = []
    wanted = Counter(_CLIPS_BY_LANGUAGE)
    by_voice: Counter[str] = Counter()
    not_heard = 0
    for phrase, seconds, content in recordings():
        if not wanted[phrase.language] or by_voice[phrase.voice.name] == _MOST_CLIPS_PER_VOICE:
            continue
        if not is_heard(model, phrase, content):
            not_heard += 1
            continue
        wanted[phrase.language] -= 1
        by_voice[phrase.voice.name] += 1
        chosen.append((phrase, seconds, content))
        if not wanted.total():
            break
    print(f"{len(chosen)} clips of {len(by_voice)} voices; {not_heard} were not heard and left out")
    random.Random(_SEED).shuffle(chosen)
    return chosen


def write_clips(folder: Path, chosen: list[tuple[Phrase, float, bytes]]) -> None:
    """Writes the clips, ``silent.mp3`` and ``manifest.json`` into ``folder`` and removes the clips of before."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.mp3"):
        old.unlink()
    manifest = []
    for number, (phrase, seconds, content) in enumerate(chosen, 1):
        voice = phrase.voice.name.removeprefix("gmw/").replace("+", "_")
        clip = DemoClip(f"{number:02d}_{voice}.mp3", phrase.text, phrase.language, voice, round(seconds, 3))
        (folder / clip.file).write_bytes(content)
        manifest.append(msgspec.json.encode(clip))
    silence = np.zeros(int(_SILENCE_SECONDS * _SILENCE_SAMPLE_RATE), np.float32)
    (folder / SILENT_CLIP).write_bytes(encode_mp3(silence, _SILENCE_SAMPLE_RATE, _BITS_PER_SECOND))
    # One clip a line, so that a change shows which.
    (folder / "manifest.json").write_bytes(b"[\n" + b",\n".join(manifest) + b"\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the spoken clips of the demo and the tests.")
    parser.add_argument("--folder", type=Path, default=demo_clips_path())
    arguments = parser.parse_args()
    model = WhisperModel(str(small_model_path()), device="cpu", compute_type="int8")
    write_clips(arguments.folder, choose(model))


if __name__ == "__main__":
    main()
