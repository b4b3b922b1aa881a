"""Which model a name means, and what the user is told when it does not load. The internet is never asked."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from listening import text, windows_of
from speech import small_model_path, spoken_clips

from audioctl.engines.loading import load_engine
from audioctl.engines.whisper import WhisperEngine
from audioctl.errors import ModelError
from audioctl.models import find_model
from audioctl.settings import Transcribe
from audioctl.states import ExitCode


@pytest.fixture(autouse=True)
def no_internet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing was fetched to this machine, and whoever tries to now fails the test."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("the internet was asked"))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_model_path(), tmp_path / "model"))


def load(model: str | Path = "bundled", **settings: Any) -> WhisperEngine:
    return load_engine(Transcribe(model=str(model), **{"device": "cpu", **settings}))


def refused(model: str | Path = "bundled", **settings: Any) -> ModelError:
    with pytest.raises(ModelError) as raised:
        load(model, **settings)
    assert raised.value.exit_code == ExitCode.CONFIGURATION
    assert raised.value.hint
    return raised.value


def test_the_bundled_model_is_always_there() -> None:
    engine = load("bundled")
    assert engine.model == "bundled"
    clip = spoken_clips()[0]
    assert text(engine.transcribe(windows_of([clip]))[0]) == clip.text


@pytest.mark.parametrize("name", ["models/mine", "./models/mine", "{here}/models/mine", "~/models/mine"])
def test_a_folder_is_a_model_however_it_is_named(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    model_folder.rename(tmp_path / "models" / "mine")
    name = name.format(here=tmp_path)
    assert load(name).model == name


@pytest.mark.parametrize("name", ["tiny", "Systran/faster-whisper-tiny"])
def test_a_fetched_model_is_found_by_its_name(model_folder: Path, tmp_path: Path, name: str) -> None:
    repository = tmp_path / "cache" / "models--Systran--faster-whisper-tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    (repository / "snapshots").mkdir()
    model_folder.rename(repository / "snapshots" / "0123abc")
    assert find_model(name) == repository / "snapshots" / "0123abc"
    assert load(name).model == name


@pytest.mark.parametrize(("name", "folder"), [("tiny", "tiny"), ("group/model", "group--model")])
def test_a_model_on_the_shared_disk_is_found_by_its_name(
    model_folder: Path, tmp_path: Path, name: str, folder: str
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    model_folder.rename(models / folder)
    assert find_model(name, str(models)) == models / folder
    assert load_engine(Transcribe(model=name, device="cpu"), str(models)).model == name


@pytest.mark.parametrize("name", ["large-v3-turbo", "Systran/faster-whisper-tiny", "models/mine", "a/b/c"])
def test_a_model_that_was_not_fetched_is_said_to_be_missing(name: str) -> None:
    error = refused(name)
    assert f"The model {name} is not on this machine" in error.message
    assert f"audioctl model fetch {name}" in (error.hint or "")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    error = refused("large-v9")
    assert error.message == "There is no folder and no model named large-v9."
    assert "bundled, tiny.en" in (error.hint or "")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").message == f"There is no folder {tmp_path}/nowhere."


@pytest.mark.parametrize("file", ["model.bin", "tokenizer.json"])
def test_a_folder_without_a_whole_model_is_told_what_it_lacks(model_folder: Path, file: str) -> None:
    (model_folder / file).unlink()
    assert refused(model_folder).message == f"There is no whole model in {model_folder}: it holds no {file}."


@pytest.mark.parametrize("file", ["model.bin", "tokenizer.json", "config.json", "vocabulary.json"])
@pytest.mark.parametrize("content", [b"", b"{broken"], ids=["empty", "broken"])
def test_a_damaged_model_is_said_to_be_damaged(model_folder: Path, file: str, content: bytes) -> None:
    (model_folder / file).write_bytes(content)
    error = refused(model_folder)
    assert error.message.startswith(f"The model {model_folder} cannot be loaded: ")
    assert "\n" not in error.message
    assert "fetch the model again" in (error.hint or "")


def test_a_model_that_is_cut_off_is_said_to_be_damaged(model_folder: Path) -> None:
    weights = model_folder / "model.bin"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert "cannot be loaded" in refused(model_folder).message


def test_damaged_traits_are_named(model_folder: Path) -> None:
    (model_folder / "audioctl.json").write_text("{broken")
    assert f"{model_folder}/audioctl.json is damaged" in refused(model_folder).message


def test_mel_bins_that_do_not_fit_are_noticed_before_the_first_clip(model_folder: Path) -> None:
    (model_folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": 128}))
    error = refused(model_folder)
    assert "takes 80 mel bins" in error.message
    assert "preprocessor_config.json" in (error.hint or "")


def test_a_compute_type_that_the_device_lacks_is_answered_with_those_it_has() -> None:
    error = refused(compute_type="float16")
    assert error.message == 'transcribe.compute_type = "float16" is nothing that this cpu can compute with.'
    assert "default, auto, float32, int8" in (error.hint or "")


def test_without_a_gpu_cuda_is_refused_and_auto_takes_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    error = refused(device="cuda")
    assert "no GPU can be used here" in error.message
    assert "nvidia-smi" in (error.hint or "")
    assert load(device="auto").transcribe(windows_of(spoken_clips()[:1]))


@pytest.mark.parametrize("settings", [{"language": "xx"}, {"languages": ("en", "xx")}])
def test_a_language_that_the_model_does_not_know_is_refused(settings: dict[str, Any]) -> None:
    error = refused(**settings)
    assert error.message == "The model bundled does not know the language 'xx'."
    assert " de " in (error.hint or "")


def test_a_language_that_only_other_models_know_is_refused(model_folder: Path) -> None:
    """faster-whisper lists Cantonese for all, but large-v2 and older have no token for it."""
    tokenizer = model_folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8").replace("<|yue|>", "<|none|>"), encoding="utf-8")
    assert "does not know the language 'yue'" in refused(model_folder, language="yue").message


@pytest.mark.parametrize(
    ("window", "trained_on_short_windows", "frames"),
    [
        ("auto", True, 200),
        ("auto", False, 3000),
        ("full", True, 3000),
        ("full", False, 3000),
        ("longest", True, 200),
        ("longest", False, 1000),
        ("10", False, 1000),
        ("15", True, 1500),
        ("30", False, 3000),
    ],
)
def test_windows_are_cut_short_only_for_models_that_take_them(
    model_folder: Path, window: str, trained_on_short_windows: bool, frames: int
) -> None:
    if not trained_on_short_windows:
        (model_folder / "audioctl.json").unlink()
    assert load(model_folder, window=window).options.shortest_frames == frames


@pytest.mark.parametrize(
    ("settings", "beam_size"),
    [({}, 5), ({"profile": "careful"}, 5), ({"profile": "fast"}, 1), ({"profile": "fast", "beam_size": 3}, 3)],
)
def test_a_profile_is_so_many_beams_unless_they_are_set(settings: dict[str, Any], beam_size: int) -> None:
    engine = load(**settings)
    assert engine.options.beam_size == beam_size
    assert f"follows {beam_size} beam{'s' if beam_size > 1 else ''}." in engine.description
