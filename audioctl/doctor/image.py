"""The image that jobs run in, and its own test."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from audioctl.configuration import is_remote
from audioctl.doctor.findings import Finding, Verdict
from audioctl.environment import without_secrets
from audioctl.errors import ConfigurationError
from audioctl.settings import Container
from audioctl.templates import container_runtimes

_TEST_SECONDS = 300
"""A day of six clips with the small model takes half a minute on two cores; a first start from a shared disk longer."""


def inside_image() -> bool:
    return any(os.environ.get(f"{runtime}_CONTAINER") for runtime in ("APPTAINER", "SINGULARITY"))


def image(container: Container) -> Finding | str:
    """Whether it is there and passes its own test (%test), where this machine can run it. Raises ConfigurationError."""
    if is_remote(container.image):
        return Finding(
            "image",
            Verdict.LOOK,
            f"{container.image} is fetched by the nodes, where they can.",
            "`apptainer pull /shared/audioctl.sif URL` once, and that file as container.image, is quicker.",
        )
    if not os.access(container.image, os.R_OK):
        raise ConfigurationError(
            f"The image {container.image} is not there, or cannot be read.",
            hint="Correct container.image, or build one: containers/build.sh, or `apptainer pull`.",
        )
    runtime = next(filter(None, map(shutil.which, container_runtimes(container))), None)
    if runtime is None:
        return f"{container.image} can be read. There is no runtime here to test it; `audioctl doctor --on-node` does."
    try:
        done = subprocess.run(
            [runtime, "test", "--nv", container.image],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TEST_SECONDS,
            env=without_secrets(os.environ),
        )
    except subprocess.TimeoutExpired:
        return Finding(
            "image",
            Verdict.LOOK,
            f"The test of {container.image} was not through after {_TEST_SECONDS} s.",
            f"Type `{Path(runtime).name} test --nv {container.image}` by hand, or `audioctl doctor --on-node`.",
        )
    return verdict_of_test(container.image, done.returncode, done.stdout)


def verdict_of_test(image: str, exit_code: int, output: str) -> Finding | str:
    """What came of ``apptainer test``."""
    if exit_code == 0:
        return f"{image} can be run, and passes its own test."
    last_line = next(iter(output.strip().splitlines()[-1:]), "it said nothing")
    return Finding(
        "image",
        Verdict.BAD,
        f"{image} fails its own test (exit code {exit_code}): {last_line.strip()}",
        f"`apptainer test --nv {image}` shows all that it says; containers/build.sh builds it anew.",
    )
