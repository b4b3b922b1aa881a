"""Where models are looked for, and what a login node can tell of them before anything is submitted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from faster_whisper.utils import _MODELS
from speech import small_model_path

from audioctl.errors import ModelError
from audioctl.models import HUB_REPOSITORIES, check_model_is_there, hub_cache
from audioctl.settings import Container, Paths, Settings, Transcribe

WITHOUT_HUB_VARIABLES = dict.fromkeys(("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"))


def settings(model: str, models: Path | str = "", image: str = "") -> Settings:
    return Settings(
        paths=Paths(models=str(models)), transcribe=Transcribe(model=model), container=Container(image=image)
    )


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A shared folder with one model."""
    shutil.copytree(small_model_path(), tmp_path / "models" / "group--model")
    return tmp_path / "models"


def test_the_short_names_are_those_of_faster_whisper() -> None:
    assert HUB_REPOSITORIES == _MODELS


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HF_HOME": "~/models"},
        {"HF_HOME": "/shared/$USER/hf"},
        {"XDG_CACHE_HOME": "/caches"},
        {"HUGGINGFACE_HUB_CACHE": "/older"},
        {"HF_HUB_CACHE": "/newer", "HUGGINGFACE_HUB_CACHE": "/older", "HF_HOME": "/home"},
    ],
)
def test_the_hubs_cache_is_where_its_library_has_it(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (WITHOUT_HUB_VARIABLES | variables | {"HOME": "/home/me", "USER": "me"}).items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
    program = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert str(hub_cache()) == theirs


def test_looking_for_a_model_needs_no_audio_library() -> None:
    program = (
        "import sys, audioctl.models; print({'ctranslate2', 'faster_whisper', 'huggingface_hub'} & set(sys.modules))"
    )
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "set()"


def test_a_model_that_jobs_will_find_is_there(models: Path) -> None:
    check_model_is_there(settings("bundled"))
    check_model_is_there(settings("group/model", models))
    check_model_is_there(settings(str(models / "group--model")))


def test_a_model_that_was_not_fetched_is_missing_with_the_command_that_fetches_it(models: Path) -> None:
    with pytest.raises(ModelError) as missing:
        check_model_is_there(settings("large-v3-turbo", models))
    assert "audioctl model fetch large-v3-turbo" in str(missing.value.hint)
    assert str(models) in str(missing.value.hint)
    with pytest.raises(ModelError) as missing:
        check_model_is_there(settings("large-v3-turbo"))
    assert "paths.models" in str(missing.value.hint)


def test_a_model_that_was_fetched_half_is_not_there(models: Path) -> None:
    (models / "group--model" / "model.bin").unlink()
    with pytest.raises(ModelError, match=r"holds no model\.bin"):
        check_model_is_there(settings("group/model", models))


def test_what_may_be_inside_an_image_is_not_missing(models: Path) -> None:
    check_model_is_there(settings("/opt/model", models, image="/images/audioctl.sif"))
    check_model_is_there(settings("large-v3-turbo", image="/images/audioctl.sif"))
    with pytest.raises(ModelError):
        check_model_is_there(settings("large-v3-turbo", models, image="/images/audioctl.sif"))


def test_a_frozen_setting_means_the_same_folder_everywhere(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audioctl.configuration import freeze

    monkeypatch.chdir(models.parent)
    frozen = freeze(msgspec.structs.replace(settings("group/model"), paths=Paths(models="models")), Path.cwd())
    monkeypatch.chdir(os.sep)
    check_model_is_there(frozen)
