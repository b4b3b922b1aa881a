"""An image to run jobs in, and something to run it with, where no container engine runs."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest

REPOSITORY = Path(__file__).parents[1]
STAND_IN = Path(__file__).with_name("apptainer_stand_in.py")


def install_stand_in(folder: Path, name: Literal["apptainer", "singularity"] = "apptainer") -> Path:
    """Writes the stand-in for ``name`` below ``folder``; returns the folder that belongs into PATH."""
    session = folder / "session"
    session.mkdir(parents=True, exist_ok=True)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    # -E: the environment is meant for what runs in the image.
    call = shlex.join(["unshare", "--mount", sys.executable, "-BE", str(STAND_IN), name, str(session)])
    program = programs / name
    program.write_text(f'#!/bin/sh\nexec {call} "$@"\n')
    program.chmod(0o755)
    return programs


@pytest.fixture(scope="session")
def container_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image without CUDA, built and tested by containers/build.sh: less than a minute, and 750 MB."""
    folder = tmp_path_factory.mktemp("container")
    programs = install_stand_in(folder)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    log = folder / "build.log"
    with TemporaryDirectory(prefix="audioctl-image-", dir=_roomy_folder()) as place, log.open("w") as output:
        image = Path(place) / "audioctl.sif"
        build = [str(REPOSITORY / "containers" / "build.sh"), "--cpu", str(image)]
        built = subprocess.run(build, env={**os.environ, "PATH": path}, stdout=output, stderr=output, check=False)
        assert built.returncode == 0, log.read_text()
        yield image


def _roomy_folder() -> str | None:
    """In memory if there is plenty: a disk may take longer to delete 18,000 files than to write them."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 1000**3 else None
