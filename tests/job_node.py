"""A compute node to try the scripts of jobs on, with stand-ins for audioctl, Slurm and a container engine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
from waiting import wait_until

from audioctl.settings import Settings
from audioctl.templates import ScriptRequest

Does = Mapping[str, Mapping[str, object]]
"""What the stand-in for audioctl does, by slot (for process-tar) or command."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
ENV = shutil.which("env") or "env"

# Writes down how it is called. Then it does what $DOES says for its slot or command: end with an exit code; print; or
# wait for a signal.
AUDIOCTL = """
import json, os, pathlib, signal, sys, time

records = pathlib.Path(os.environ["RECORDS"])
command = sys.argv[3]
subject = sys.argv[6] if command == "process-tar" else command
with (records / "calls").open("a") as calls:
    print(json.dumps([subject, sys.argv[1:], dict(os.environ)]), file=calls)
does = json.loads(os.environ["DOES"]).get(subject, {})
print(does.get("prints", f"output of {subject}"))


def drain(number, frame):
    (records / "signal").write_text(signal.Signals(number).name)
    time.sleep(0.2)
    sys.exit(does["when_signalled"])


if "when_signalled" in does:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        sys.exit("started deaf to SIGINT")
    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        signal.signal(getattr(signal, name), drain)
if does.keys() & {"when_signalled", "never_hears", "takes_long"}:
    (records / "ready").touch()
    for _ in range(6000):
        if (records / "enough").exists():
            break
        time.sleep(0.01)
    else:
        sys.exit("no signal came")
sys.exit(does.get("code", 0))
"""

# Knows $STATE of the one job that there is, and like the real one leaves out what the user does not want to see.
SQUEUE = """#!/bin/bash
echo "squeue $*" >>"$RECORDS/slurm"
if [ -z "${SQUEUE_STATES:-}" ]; then echo "$STATE"; fi
"""

# What becomes of an update nobody waits for, so it has no place in the order of the others.
SCONTROL = """#!/bin/bash
if [ "$1" = update ]; then list=updates; else list=slurm; fi
echo "scontrol $*" >>"$RECORDS/$list"
"""

# Runs the command outside any image, in the environment that it would have inside.
CONTAINER_ENGINE = f"""#!{sys.executable}
import json, os, pathlib, sys

name = os.path.basename(sys.argv[0])
with (pathlib.Path(os.environ["RECORDS"]) / "engine").open("a") as calls:
    print(json.dumps([name, *sys.argv[1:]]), file=calls)
prefix = {{"apptainer": "APPTAINERENV_", "singularity": "SINGULARITYENV_"}}[name]
inside = {{key.removeprefix(prefix): value for key, value in os.environ.items() if key.startswith(prefix)}}
ours = {{key: os.environ[key] for key in ("RECORDS", "DOES", "PYTHONPATH")}}
_, *arguments = sys.argv[sys.argv.index("python3"):]
os.execve("{sys.executable}", ["python3", *arguments], inside | ours)
"""


@dataclass(frozen=True)
class Call:
    """Of audioctl."""

    subject: str
    """The slot, for process-tar, or else the command."""
    arguments: list[str]
    environment: dict[str, str]


class Job:
    """A script that runs."""

    def __init__(self, process: subprocess.Popen[str], records: Path) -> None:
        self._process = process
        self._records = records

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Until audioctl waits for a signal."""

        def ready() -> bool:
            assert self._process.poll() is None, f"the script ended too early: {self._process.communicate()}"
            return (self._records / "ready").exists()

        wait_until(ready, "audioctl to be ready")

    def signal(self, name: str) -> None:
        self._process.send_signal(signal.Signals[name])

    def command_lines(self) -> list[str]:
        """Of all its processes."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(process.pid) == self.pid:
                    found.append(" ".join(process.cmdline()))
        return found

    def end(self) -> tuple[int, str, str]:
        """The exit code, and what was printed to standard output and to standard error."""
        output, errors = self._process.communicate()
        return self._process.returncode, output, errors


class Node:
    """Where the scripts of one run are tried."""

    def __init__(self, folder: Path) -> None:
        self.run_folder = folder / "a run"
        self.programs = folder / "programs"
        self.records = folder / "records"
        self._audioctl = folder / "stand-in"
        for needed in (self.run_folder / "logs", self.programs, self.records, self._audioctl / "audioctl"):
            needed.mkdir(parents=True)
        (self._audioctl / "audioctl" / "__init__.py").touch()
        (self._audioctl / "audioctl" / "__main__.py").write_text(AUDIOCTL)
        self.install("squeue", SQUEUE)
        self.install("scontrol", SCONTROL)

    def install(self, name: str, content: str) -> None:
        (self.programs / name).write_text(content)
        (self.programs / name).chmod(0o755)

    @contextlib.contextmanager
    def started(
        self, script: str, *arguments: str, does: Does = NOTHING, environ: Mapping[str, str] = NOTHING
    ) -> Iterator[Job]:
        path = self.run_folder / "script"
        path.write_bytes(os.fsencode(script))
        ours = ("SLURM_", "SQUEUE_", "PG", "HF_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        process = subprocess.Popen(
            # Whoever runs the tests in the background may have made them deaf to INT.
            [ENV, "--default-signal=INT", "bash", path, *arguments],
            env={
                **clean,
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(self._audioctl),
                "RECORDS": str(self.records),
                "DOES": json.dumps(dict(does)),
                "STATE": "RUNNING",
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.run_folder,
            start_new_session=True,
        )
        try:
            yield Job(process, self.records)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def run(self, script: str, *arguments: str, does: Does = NOTHING, environ: Mapping[str, str] = NOTHING) -> int:
        with self.started(script, *arguments, does=does, environ=environ) as job:
            return job.end()[0]

    def path_with_only(self, *names: str) -> str:
        """A PATH on which there is nothing but these programs."""
        few = self.programs.with_name("few")
        few.mkdir()
        for name in names:
            (few / name).symlink_to(shutil.which(name) or name)
        return str(few)

    def calls(self) -> list[Call]:
        return [Call(*json.loads(line)) for line in self._lines("calls")]

    def subjects(self) -> list[str]:
        return [call.subject for call in self.calls()]

    def slurm_calls(self) -> list[str]:
        return self._lines("slurm")

    def updates(self) -> list[str]:
        """What Slurm was asked to write of its jobs."""
        return self._lines("updates")

    def engine_calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self._lines("engine")]

    def _lines(self, name: str) -> list[str]:
        path = self.records / name
        return path.read_text().splitlines() if path.exists() else []


def request_on(node: Node, *paths: str, **sections: object) -> ScriptRequest:
    settings = Settings(**sections)  # type: ignore[arg-type]
    per_job = settings.slurm.archives_per_job
    archives = [(f"12_{index}0", Path(path), f"0_{index // per_job}") for index, path in enumerate(paths)]
    return ScriptRequest(node.run_folder, "run-1", "2025-01-25", archives, settings, max_concurrent=8)


def array_task(task: int = 0, /, **more: str) -> dict[str, str]:
    """The variables of a task of a job array."""
    return {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_JOB_ID": "123", "SLURM_JOB_ID": "124", **more}


FINISHING = {"SLURM_JOB_ID": "200"}
"""The variables of a job that finishes a day."""
