"""What the benchmarks stand on: models of Whisper's shapes, archives as they come, bounds that can be missed."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline, WhisperModel

from audioctl.clips import SAMPLE_RATE, Window
from audioctl.engines.loading import load_engine
from audioctl.settings import Transcribe
from benchmarks.bounds import Bound
from benchmarks.mixed_archive import make_mixed_archive
from benchmarks.shaped_model import SENTENCE_WORDS, Shape, ShapedModel

LEAST_SHAPE = Shape(width=64, heads=1, encoder_layers=1, decoder_layers=1)


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shaped")
    ShapedModel(LEAST_SHAPE).write(folder)
    return folder


def noise(seconds: float) -> np.ndarray:
    samples: np.ndarray = np.random.default_rng(0).integers(-3000, 3000, round(seconds * SAMPLE_RATE)).astype(np.int16)
    return samples


@pytest.mark.parametrize("pipeline", [lambda whisper: whisper, BatchedInferencePipeline], ids=["one", "batched"])
def test_a_shaped_model_says_one_sentence_once_and_is_sure_of_it(
    shaped: Path, pipeline: Callable[[WhisperModel], WhisperModel]
) -> None:
    recogniser = pipeline(WhisperModel(str(shaped), device="cpu", compute_type="int8"))
    segments, about = recogniser.transcribe(noise(7).astype(np.float32) / 32768, beam_size=5, vad_filter=False)
    (segment,) = segments
    assert len(segment.text.split()) == SENTENCE_WORDS
    assert segment.avg_logprob > -0.1
    assert segment.temperature in (0.0, None)
    assert about.language == "en"


def test_a_shaped_model_says_the_same_to_our_engine(shaped: Path) -> None:
    engine = load_engine(Transcribe(model=str(shaped), device="cpu", compute_type="int8"))
    heard = engine.transcribe([Window(number, 0.0, noise(seconds)) for number, seconds in enumerate((3.0, 29.5))])
    texts = {" ".join(segment.text for segment in transcript.segments) for transcript in heard}
    (text,) = texts
    assert len(text.split()) == SENTENCE_WORDS


def test_a_mixed_archive_holds_what_it_tells_of_itself(tmp_path: Path) -> None:
    made = make_mixed_archive(tmp_path / "0_2025-01-25_12_30.tar.xz", 120, 1, distinct_clips=0, short=True)
    with tarfile.open(made.path) as archive:
        names = [Path(member.name).name for member in archive]
    assert len(names) == 120
    assert len(names) - len(set(names)) == made.same_name == 3
    assert made.unreadable == 2
    assert len(made.said) == sum(made.lengths.values()) == 118


@pytest.mark.parametrize(
    ("bound", "is_reached"),
    [
        (Bound("more", 3.0, at_least=3), True),
        (Bound("more", 2.99, at_least=3), False),
        (Bound("less", 1.3, at_most=1.3), True),
        (Bound("less", 1.31, at_most=1.3), False),
    ],
)
def test_a_bound_is_told_as_reached_only_if_it_is(bound: Bound, is_reached: bool) -> None:
    assert bound.is_reached is is_reached
    assert str(bound).startswith("reached" if is_reached else "NOT reached")
