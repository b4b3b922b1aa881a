"""``audioctl config``."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from configurations import write
from terminals import read_terminal
from typer.testing import CliRunner, Result

from audioctl.cli.config import register
from audioctl.cli.context import CliContext
from audioctl.configuration import config_files
from audioctl.settings import KEYS

pytestmark = pytest.mark.usefixtures("folder")


def run(*arguments: str, config_file: Path | None = None) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, obj=CliContext(config_file), catch_exceptions=True)


def test_show_prints_lines_that_are_toml(folder: Path) -> None:
    write(folder / "audioctl.toml", "[upload]\nattempts = 9\n")

    shown = tomllib.loads(run("config", "show").stdout)

    assert shown["upload"]["attempts"] == 9
    assert [dotted for dotted, key in KEYS.items() if key.name not in shown[key.section]] == []


def test_show_says_where_each_value_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder / "audioctl.toml", "[upload]\nattempts = 9\n")
    monkeypatch.setenv("AUDIOCTL_SLURM__MODULES", "cuda,ffmpeg")

    lines = run("config", "show", "--origin").stdout.splitlines()

    assert f"upload.attempts = 9   # {path}" in lines
    assert 'slurm.modules = ["cuda", "ffmpeg"]   # AUDIOCTL_SLURM__MODULES' in lines
    assert "upload.upload_timeout = 120   # default" in lines


def test_show_is_a_table_on_a_terminal() -> None:
    """A real terminal: the file descriptor is a pseudo-terminal."""
    program = "import typer; from audioctl.cli.config import register; app = typer.Typer(); register(app); app()"
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, "config", "show", "--origin"],
        stdout=theirs,
        env={**os.environ, "COLUMNS": "200", "AUDIOCTL_SLURM__MODULES": "bold"},
    )
    os.close(theirs)
    shown = read_terminal(ours)

    assert process.wait() == 0
    assert re.search(r"setting +value +from", shown)
    assert re.search(r'slurm\.modules +\["bold"\] +AUDIOCTL_SLURM__MODULES', shown)


def test_show_as_json(folder: Path) -> None:
    path = write(folder / "audioctl.toml", "[upload]\nattempts = 9\n")

    shown = json.loads(run("config", "show", "--json").stdout)

    assert shown["settings"]["upload"]["attempts"] == 9
    assert shown["settings"]["extract"]["max_member_size"] == 1024**3
    assert shown["origins"]["upload.attempts"] == str(path)


def test_path_lists_the_files_and_whether_they_exist(folder: Path, tmp_path: Path) -> None:
    project = write(folder / "audioctl.toml", "")

    assert run("config", "path").stdout.splitlines() == [
        f"found    {project}",
        f"missing  {tmp_path}/user/audioctl/config.toml",
        f"missing  {tmp_path}/site/audioctl/config.toml",
    ]
    assert json.loads(run("config", "path", "--json").stdout)["files"][0] == {"path": str(project), "exists": True}


def test_path_names_only_the_chosen_file(tmp_path: Path) -> None:
    chosen = tmp_path / "run" / "config.toml"

    assert config_files(config_file=chosen, environ={}, cwd=Path.cwd()) == [chosen]
    assert run("config", "path", config_file=chosen).stdout == f"missing  {chosen}\n"
