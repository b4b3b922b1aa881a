"""A day of recordings and a folder of settings on a real cluster, and what a person finds out about it there."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from slurm import Cluster
from waiting import wait_until

from audioctl.configuration import dump_toml
from audioctl.demo import Said, make_demo_day
from audioctl.ledger.events import AttemptStarted, BatchTranscribed
from audioctl.ledger.journal import journal_path, read_entries
from audioctl.runs import Run, run_folder, runs_of_day
from audioctl.settings import Convert, Extract, Paths, Settings, Slurm, Submit, Transcribe, Upload

DAY = "2025-01-25"
AT_START = Path(__file__).parent / "at_start"

Result = subprocess.CompletedProcess[str]


class ClusterDay:
    """One day of archives of four clips (and a few mishaps in the last), and audioctl in a folder of its own."""

    def __init__(self, cluster: Cluster, folder: Path, slots: Sequence[str], *, clips: int = 4, **slurm: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.cluster = cluster
        self.folder = folder
        self.state = folder / "state"
        # The database has room for paths of 500 characters; folders of tests are long.
        self.storage = cluster.work / f"storage-{secrets.token_hex(4)}"
        self.slots = list(slots)
        self.said: dict[tuple[str, str], Said] = make_demo_day(folder / DAY, DAY, slots, clips_per_archive=clips)
        self._slow = folder / "slow"
        self.take(0.0)
        small = {"cpus_per_task": 2, "mem": "500M", "time": "00:10:00", "finish_mem": "200M", "finish_cpus_per_task": 1}
        self.settings = Settings(
            paths=Paths(archives=f"{folder}/{{day}}", state_dir=f"{self.state}", scratch=f"{folder}/scratch"),
            submit=Submit(executor="slurm"),
            slurm=Slurm(**{"partition": "main", **small, **slurm}),
            extract=Extract(stream_batch_size=2),
            convert=Convert(num_workers=1),
            transcribe=Transcribe(model="bundled", device="cpu"),
            upload=Upload(destination=f"{self.storage}", attempts=1),
        )

    def configure(self, section: str, **values: Any) -> None:
        changed = msgspec.structs.replace(getattr(self.settings, section), **values)
        self.settings = msgspec.structs.replace(self.settings, **{section: changed})

    def take(self, seconds_per_batch: float) -> None:
        """From now on, also of jobs that run."""
        self._slow.write_text(str(seconds_per_batch))

    def attempt(self, *arguments: str) -> Result:
        with self.begin(*arguments) as process:
            output, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        (self.folder / "audioctl.toml").write_text(dump_toml(self.settings, frozen=False))
        path = os.pathsep.join(filter(None, [f"{AT_START}", os.environ.get("PYTHONPATH")]))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUDIOCTL_", "SLURM_"))}
        return subprocess.Popen(
            [sys.executable, "-m", "audioctl", *arguments],
            cwd=self.folder,
            env=kept | self.cluster.environment | {"PYTHONPATH": path, "SLOW_JOB": f"{self._slow}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Result:
        """As ``attempt``, but it has to succeed."""
        result = self.attempt(*arguments)
        assert result.returncode == 0, f"audioctl {' '.join(arguments)}: {result.stderr}"
        return result

    def status(self) -> dict[str, dict[str, Any]]:
        """Archives by slot."""
        (day,) = json.loads(self.run("status", DAY, "--json").stdout)["days"] or [{"archives": []}]
        return {archive["slot"]: archive for archive in day["archives"]}

    def states(self) -> dict[str, int]:
        return Counter(archive["state"] for archive in self.status().values())

    def wait_for_states(self, **counts: int) -> None:
        wait_until(lambda: self.states() == counts, f"the states to be {counts}, not {self.states()}")

    def wait_for_journal(self, slot: str, event: str, count: int = 1) -> None:
        """Until so many lines of this kind stand in the journal."""
        path = journal_path(self.state, DAY, slot)

        def lines() -> int:
            return path.read_text().count(f'{{"event":"{event}"') if path.exists() else 0

        wait_until(lambda: lines() >= count, f"{count} {event} in the journal of {slot}")

    def attempts(self, slot: str) -> list[AttemptStarted]:
        events = (entry.event for entry in read_entries(journal_path(self.state, DAY, slot)))
        return [event for event in events if isinstance(event, AttemptStarted)]

    def runs(self) -> list[Run]:
        return runs_of_day(self.state, DAY)

    def number(self, part: str = "array-0", run: int = -1) -> str:
        """The id of a job of a run, of the newest by default."""
        return (run_folder(self.state, self.runs()[run]) / f"{part}.job").read_text().strip()

    def summary(self, run: int = -1) -> dict[str, Any]:
        path = run_folder(self.state, self.runs()[run]) / "summary.json"
        wait_until(path.exists, "the summary of the day")
        return dict(json.loads(path.read_text()))

    def check_nothing_is_lost_or_doubled(self) -> None:
        """Every clip has been transcribed once and stored once, whatever happened on the way."""
        clips = [json.loads(line) for line in self.run("export", DAY, "--format", "jsonl").stdout.splitlines()]
        stored = [clip for clip in clips if clip["state"] == "stored"]
        assert {(clip["slot"], clip["member"]) for clip in stored} >= self.said.keys()
        assert len({(clip["slot"], clip["ordinal"]) for clip in clips}) == len(clips)
        files = [path for path in self.storage.rglob("*") if path.is_file()]
        assert sorted(map(str, files)) == sorted(clip["file_path"] for clip in stored)
        for slot in self.slots:
            events = (entry.event for entry in read_entries(journal_path(self.state, DAY, slot)))
            transcribed = [event.batch for event in events if isinstance(event, BatchTranscribed)]
            assert sorted(transcribed) == sorted(set(transcribed)), f"{slot} was transcribed twice"
        assert list((self.folder / "scratch").glob("*")) == []
