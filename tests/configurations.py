"""A folder without settings, and the settings that are loaded from there."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from audioctl.configuration import LoadedSettings, load_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and homes of user and site settings that are ours."""
    for name in [name for name in os.environ if name.startswith("AUDIOCTL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


def load(flags: Mapping[str, object] | None = None, /, **environ: str) -> LoadedSettings:
    return load_settings(flags, config_file=None, environ=environ, cwd=Path.cwd())


def load_file(path: Path, /, **environ: str) -> LoadedSettings:
    return load_settings(config_file=path, environ=environ, cwd=Path.cwd())


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
