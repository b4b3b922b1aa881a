"""Slurm's commands as scripts that print what a test has prepared: for answers that a real Slurm gives only rarely."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

SQUEUE_HEADER = "JOBID|ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|NODELIST|NAME|REASON"
SACCT_HEADER = "JobID|JobName|State|ExitCode|NodeList"

DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
NO_ACCOUNTING = "Slurm accounting storage is disabled"

_COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")

_PROGRAM = """#!/bin/bash
here=${0%/bin/*} name=${0##*/}
mkdir -p "$here/calls"
number=$(find "$here/calls" -name '*.command' | wc -l)
printf '%s\\0' "$name" "$@" >"$here/calls/$number.command"
env -0 >"$here/calls/$number.environment"
turn=$(find "$here/answers" -name "$name.*.given" | wc -l)
if [ -e "$here/answers/$name.$turn" ]; then
  touch "$here/answers/$name.$turn.given"
else # the last answer holds for all that follow
  turn=$((turn - 1))
fi
. "$here/answers/$name.$turn"
"""


class Call(NamedTuple):
    command: list[str]
    environment: dict[str, str]

    @property
    def program(self) -> str:
        return self.command[0]

    def option(self, name: str) -> str | None:
        """The value of ``--name=value``."""
        values = [word.partition("=")[2] for word in self.command if word.startswith(f"--{name}=")]
        return values[0] if values else None


class FakeSlurm:
    """Its programs are in ``bin``. A program without a prepared answer fails."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self._answers = folder / "answers"
        self._calls = folder / "calls"
        for needed in (self.bin, self._answers):
            needed.mkdir(parents=True)
        for name in _COMMANDS:
            (self.bin / name).write_text(_PROGRAM)
            (self.bin / name).chmod(0o755)

    def prepare(self, program: str, stdout: str = "", *, stderr: str = "", code: int = 0) -> None:
        """Its answer to its next call, after those prepared before; the last one holds for all further calls."""
        self.prepare_commands(
            program, f"printf %s {shlex.quote(stdout)}; printf %s {shlex.quote(stderr)} >&2; exit {code}"
        )

    def prepare_commands(self, program: str, commands: str) -> None:
        """As ``prepare``, with shell commands that make the answer."""
        prepared = len([path for path in self._answers.glob(f"{program}.*") if path.suffix != ".given"])
        (self._answers / f"{program}.{prepared}").write_text(commands)

    def fail(self, program: str, said: str, code: int = 1) -> None:
        self.prepare(program, stderr=f"{said}\n", code=code)

    def prepare_squeue(self, *rows: str) -> None:
        self.prepare("squeue", "".join(f"{row}\n" for row in (SQUEUE_HEADER, *rows)))

    def prepare_sacct(self, *rows: str) -> None:
        self.prepare("sacct", "".join(f"{row}\n" for row in (SACCT_HEADER, *rows)))

    @property
    def calls(self) -> list[Call]:
        """In order."""
        paths = sorted(self._calls.glob("*.command"), key=lambda path: int(path.stem)) if self._calls.exists() else []
        return [Call(_split(path), _variables(path.with_suffix(".environment"))) for path in paths]

    @property
    def programs(self) -> list[str]:
        """Those that were called, in order."""
        return [call.program for call in self.calls]

    def forget_calls(self) -> None:
        for path in self._calls.iterdir():
            path.unlink()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """In the place of whatever Slurm this machine has."""
    fake = FakeSlurm(folder / "fake_slurm")
    monkeypatch.setenv("PATH", f"{fake.bin}:{os.defpath}")
    return fake


def squeue_row(
    task: int | str, state: str, *, name: str, number: str = "12", node: str = "", reason: str = "None"
) -> str:
    """One line of squeue's about a task, or a range of them."""
    return f"{number}_{task}|{number}|{task}|{state}|{node}|{name}|{reason}"


def sacct_row(
    task: int | str, state: str, *, name: str, number: str = "12", exit_code: str = "0:0", node: str = "node1"
) -> str:
    """One line of sacct's about a task, or a range of them."""
    return f"{number}_{task}|{name}|{state}|{exit_code}|{node}"


def _split(path: Path) -> list[str]:
    return path.read_text().split("\0")[:-1]


def _variables(path: Path) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in _split(path))
