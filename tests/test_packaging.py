"""The sdist and the wheel: what is in them, and that what they install runs far from any checkout."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from email import message_from_string
from pathlib import Path
from typing import NamedTuple

import pytest
from fake_slurm import FakeSlurm

from audioctl import __version__

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
WHEEL_OPTIONS = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
DAY = "2025-01-25"


class Built(NamedTuple):
    """By ``python -m build``: the wheel from the sdist."""

    sdist: Path
    wheel: Path


def run(command: Sequence[str | Path], cwd: Path, **environment: str) -> str:
    """What it prints. Neither this checkout nor what a user has set reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUDIOCTL_", "PYTHON"))}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, *options: str) -> list[Path]:
    """With hatchling as it is installed here, so that nothing is downloaded."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, *options, REPOSITORY], cwd=REPOSITORY)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    wheel, sdist = build(tmp_path_factory.mktemp("built"))
    return Built(sdist, wheel)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an empty environment with the wheel in it, beside which the packages lie that it
    needs."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", environment], cwd=environment.parent)
    python = environment / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", built.wheel], cwd=environment.parent)
    own = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=environment.parent).strip()
    # Behind its own packages; a checkout that is installed for development there stays out, because that takes a .pth.
    (Path(own) / "packages_of_the_tests.pth").write_text("\n".join(packages_here()) + "\n")
    return environment / "bin"


def packages_here() -> list[str]:
    """The folders in which the packages lie that these tests use."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


def contents(archive: Path) -> dict[str, str]:
    """Each file's name and digest."""
    with zipfile.ZipFile(archive) as wheel:
        return {name: hashlib.sha256(wheel.read(name)).hexdigest() for name in wheel.namelist()}


def files_below(folder: Path) -> set[str]:
    """Relative to ``folder``."""
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in files if "__pycache__" not in path.parts}


def test_the_wheel_from_the_sdist_is_the_wheel_from_the_checkout(built: Built, tmp_path: Path) -> None:
    (from_checkout,) = build(tmp_path, "--wheel")
    assert from_checkout.name == built.wheel.name
    assert contents(from_checkout) == contents(built.wheel)


def test_the_wheel_holds_the_whole_package_and_its_templates_and_nothing_else(built: Built) -> None:
    inside = {name for name in contents(built.wheel) if ".dist-info/" not in name and ".data/" not in name}
    package = {f"audioctl/{name}" for name in files_below(REPOSITORY / "audioctl")}
    templates = {f"audioctl/hpc_templates/{name}" for name in files_below(REPOSITORY / "hpc_templates")}
    assert "audioctl/hpc_templates/base.sh.j2" in templates
    assert "audioctl/data/small_model/model.bin" in package
    assert "audioctl/data/demo/manifest.json" in package
    assert inside == package | templates


def test_what_goes_beside_the_package_is_in_the_wheel(built: Built) -> None:
    """Man pages and the like, where there are any."""
    data = f"audioctl-{__version__}.data/data/"
    expected = set()
    for source, target in WHEEL_OPTIONS.get("shared-data", {}).items():
        below = files_below(REPOSITORY / source)
        expected |= {f"{data}{target}/{name}" for name in below} if below else {f"{data}{target}"}
    assert {name for name in contents(built.wheel) if ".data/" in name} == expected


def test_the_sdist_has_what_one_needs_to_build_an_image_to_read_and_to_test(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("audioctl", "hpc_templates", "containers", "docs", "scripts", "tests", "tools"):
        missing = {f"{folder}/{name}" for name in files_below(REPOSITORY / folder)} - inside
        assert missing == set()
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "PKG-INFO"} <= inside
    assert not [name for name in inside if name.startswith((".venv", ".git/", ".ci"))]


def test_the_metadata_tells_the_version_of_the_package_and_the_pythons_it_runs_on(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        text = wheel.read(f"audioctl-{__version__}.dist-info/METADATA").decode()
    metadata = message_from_string(text)
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    classifiers = metadata.get_all("Classifier", [])
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in classifiers
    assert "version" not in PROJECT["project"]


def test_the_version_stands_in_the_package_alone(installed: Path, tmp_path: Path) -> None:
    assert run([installed / "audioctl", "--version"], cwd=tmp_path) == f"audioctl {__version__}\n"
    asked = "import audioctl, importlib.metadata as m; print(audioctl.__file__, m.version('audioctl'))"
    where, version = run([installed / "python", "-c", asked], cwd=tmp_path).split()
    assert Path(where).is_relative_to(installed.parent)
    assert version == __version__


def test_an_installed_audioctl_does_the_demo_and_shows_the_scripts_of_a_day(installed: Path, tmp_path: Path) -> None:
    program = installed / "audioctl"
    heard = run([program, "demo", "--clips", "2"], cwd=tmp_path)
    assert len(heard.splitlines()) > 6
    slurm = FakeSlurm(tmp_path / "slurm")
    slurm.prepare("scontrol", "MaxArraySize            = 1001\n")
    submit = ["submit-day", DAY, "--dry-run", "--archives", str(tmp_path / "audioctl-demo/archives/{day}")]
    path = os.pathsep.join([str(slurm.bin), os.environ["PATH"]])
    again = {
        "AUDIOCTL_PATHS__STATE_DIR": str(tmp_path / "state"),
        "AUDIOCTL_TRANSCRIBE__MODEL": "bundled",
        "PATH": path,
    }
    local = run([program, *submit, "--executor", "local"], cwd=tmp_path, **again)
    on_slurm = run([program, *submit, "--executor", "slurm"], cwd=tmp_path, **again)
    assert "job.sh" in local
    assert "#SBATCH --array=0-2" in on_slurm
    for script in (local, on_slurm):
        assert str(installed / "python") in script
        assert str(REPOSITORY) not in script
    assert not (tmp_path / "audioctl-state" / "runs").exists()


def test_an_installed_audioctl_finds_its_own_templates_and_data(installed: Path, tmp_path: Path) -> None:
    asked = "from audioctl import data, template_files; print(template_files.templates_path(), data.small_model_path())"
    for folder in run([installed / "python", "-c", asked], cwd=tmp_path).split():
        assert Path(folder).is_relative_to(installed.parent)
        assert any(Path(folder).iterdir())
