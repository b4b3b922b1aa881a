"""One scenario, carried out: the work is started once with each fault, then taken up without any, then judged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from archives import file_entry, special_entry, write_archive
from invariants import Tally, complaints, snapshot, tally
from proxy import Mood
from scenario import Fault, Scenario, Storage, Way
from servers import Servers
from workspace import DAY, PATIENCE_SECONDS, SLOT, Workspace, spoken, wait_until

from audioctl.database.connection import CREDENTIALS_VARIABLE
from audioctl.failpoints import VARIABLE, WAITING
from audioctl.states import ExitCode

_LOOK_SECONDS = 0.005
_RECOVERIES = 2
_AT_START = Path(__file__).parent.parent / "at_start"
_DAY_OF_SECONDS = 86_400
_TORN_LINE = b'{"event":"batch_uploaded","at":"2025-01-25T12:3'


class Verdict(msgspec.Struct):
    """What came of a trial. ``struck`` are the faults that really happened."""

    scenario: Scenario
    struck: list[Fault] = []
    tally: Tally = Tally(0, 0, 0)
    complaints: list[str] = []
    seconds: float = 0.0


class Trial:
    def __init__(self, scenario: Scenario, folder: Path, servers: Servers) -> None:
        self._scenario = scenario
        self._servers = servers
        self._workspace = workspace = Workspace(folder)
        self._orders = folder / "orders"
        self._orders.mkdir(parents=True)
        self._clock = folder / "clock"
        self._lied = False
        self._complaints: list[str] = []
        workspace.archive = folder / f"0_{DAY}_{SLOT}{scenario.suffix}"
        workspace.configure("extract", stream_batch_size=scenario.batch_size)
        if scenario.spool:
            workspace.configure("extract", spool_above=100)
        workspace.configure("convert", num_workers=1)
        workspace.configure("database", enabled=scenario.database, give_up_after=1)
        workspace.configure("slurm", drain_seconds=10)
        workspace.configure("upload", attempts=2, upload_timeout=3)
        if scenario.storage is Storage.SSH:
            workspace.configure(
                "upload",
                destination=f"{servers.login}:{workspace.storage}",
                ssh_key=str(servers.client_key),
                ssh_options=servers.ssh_options,
            )
        entries, workspace.said = spoken(scenario.clips)
        if scenario.bad_members:
            entries[1:1] = [file_entry("notes.txt", b"no audio"), special_entry("folder", b"5")]
        write_archive(workspace.archive, entries)

    @property
    def _database(self) -> str | None:
        return self._servers.database if self._scenario.database else None

    def judge(self) -> Verdict:
        begun = time.monotonic()
        struck = [fault for fault in self._scenario.faults if self._suffer(fault)]
        self._recover()
        verdict = Verdict(self._scenario, struck)
        if not self._complaints:
            self._mend_lies()
            verdict.tally = tally(self._workspace, self._database)
            self._complaints += complaints(self._workspace, self._database)
            self._complaints += self._resume_once_more()
        verdict.complaints = self._complaints
        verdict.seconds = round(time.monotonic() - begun, 2)
        return verdict

    # The work, with a fault and without

    def _suffer(self, fault: Fault) -> bool:
        """Start the work; whether the fault came about."""
        action, _, about = fault.action.partition(":")
        order = self._orders / fault.point
        order.write_text(f"{fault.hit} {'kill' if action == 'tear' else action}")
        environment = {VARIABLE: str(self._orders)} | self._environment()
        if about.startswith("clock"):
            environment |= self._jumping_clock()
        process = self._start(environment)
        meeting = order.with_name(f"{order.name}{WAITING}")
        while process.poll() is None or self._processes():
            if meeting.exists():
                self._meet(about, int(meeting.read_text()), lambda: meeting.unlink())
            time.sleep(_LOOK_SECONDS if process.poll() is None else 0.05)
        self._end(process)
        has_struck = not order.exists()
        order.unlink(missing_ok=True)
        self._restore()
        if action == "tear" and has_struck and self._workspace.journal.exists():
            with self._workspace.journal.open("ab") as journal:
                journal.write(_TORN_LINE)
        return has_struck

    def _processes(self) -> list[psutil.Process]:
        """Those that work. The connection of a killed job closes itself after a minute; we need not wait for that."""
        connections: list[psutil.Process] = []
        others: list[psutil.Process] = []
        for process in self._workspace.processes():
            with suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                is_connection = "[mux]" in command or "ControlPersist" in command
                (connections if is_connection else others).append(process)
        if not others:
            for connection in connections:
                with suppress(psutil.NoSuchProcess):
                    connection.kill()
        return others

    def _recover(self) -> None:
        for _ in range(_RECOVERIES):
            process = self._start(self._environment())
            told = self._end(process)
            wait_until(lambda: not self._processes(), "all processes to end")
            if process.returncode == ExitCode.DONE:
                return
        self._complaints.append(f"after {_RECOVERIES} recoveries the exit code is {process.returncode}: {told}")

    def _start(self, environment: dict[str, str]) -> subprocess.Popen[str]:
        workspace = self._workspace
        command = _as_a_user([*workspace.command, *self._arguments()])
        return workspace.start_program(command, environment=environment)

    def _arguments(self) -> Sequence[str]:
        if self._scenario.way is Way.PROCESS:
            return ["process-tar", DAY, str(self._workspace.archive), SLOT]
        is_known = any((self._workspace.state / "runs").glob(f"{DAY}/[!.]*"))
        return ["resume", DAY, "--wait"] if is_known else ["submit-day", DAY, "--wait"]

    def _end(self, process: subprocess.Popen[str]) -> str:
        """What it said on standard error."""
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        logs = [path.read_text() for path in (self._workspace.state / "runs").rglob("*.log")]
        for text in (stdout, stderr, *logs):
            if "Traceback" in text:
                self._complaints.append(f"a traceback: {text}")
        return stderr

    def _environment(self) -> dict[str, str]:
        return {CREDENTIALS_VARIABLE: self._servers.database} if self._scenario.database else {}

    def _resume_once_more(self) -> list[str]:
        before = snapshot(self._workspace, self._database)
        result = self._workspace.audioctl("resume", environment=self._environment())
        after = snapshot(self._workspace, self._database)
        changed = [f"a second resume changed the {name}" for name in before if before[name] != after[name]]
        if result.returncode != ExitCode.DONE:
            changed.append(f"a second resume ended with {result.returncode}: {result.stderr}")
        return changed

    def _mend_lies(self) -> None:
        """Nothing tells of a server that lies but ``verify``."""
        if not self._lied:
            return
        found = self._workspace.audioctl("verify", DAY, "--repair", environment=self._environment())
        if "file has another size" not in found.stdout + found.stderr:
            self._complaints.append(f"verify did not notice a short file: {found.stdout} {found.stderr}")
        self._recover()

    # What is done while the work waits at a failpoint

    def _meet(self, about: str, pid: int, go_on: Callable[[], None]) -> None:
        kind, _, what = about.partition("-")
        servers = self._servers
        match kind:
            case "server" if what == "lie":
                servers.lie(self._workspace.storage)
            case "server":
                servers.turn(Mood(what))
            case "database":
                {
                    "restart": servers.restart_database,
                    "stop": servers.stop_database,
                    "terminate": servers.terminate_sessions,
                    "freeze": servers.freeze_sessions,
                }[what]()
            case "kill":
                _kill_children(pid, {"workers": "forkserver", "rsync": "rsync"}[what])
            case "second":
                self._second_worker()
            case "frozen":
                self._take_over_from(pid, go_on)
                return
            case "read":
                _make_writable(self._workspace.state, False)
            case _:
                sign = 1 if about == "clock+1d" else -1
                self._set_clock(sign * _DAY_OF_SECONDS)
        go_on()

    def _second_worker(self) -> None:
        result = self._workspace.process_tar(environment=self._environment())
        if result.returncode != ExitCode.FAILED or "is being worked on" not in result.stderr:
            self._complaints.append(f"a second worker was let in: {result.returncode} {result.stderr}")

    def _take_over_from(self, pid: int, go_on: Callable[[], None]) -> None:
        """As if the first worker's node had hung for minutes: another one takes over, then the first wakes up."""
        os.kill(pid, signal.SIGSTOP)
        lease = self._workspace.journal.with_suffix(".lease")
        holder = json.loads(lease.read_text())
        lease.write_text(json.dumps(holder | {"boot_id": "of another machine"}))
        os.utime(lease, (0, 0))
        result = self._workspace.process_tar(environment=self._environment())
        if result.returncode != ExitCode.DONE:
            self._complaints.append(f"nobody could take over: {result.returncode} {result.stderr}")
        go_on()
        os.kill(pid, signal.SIGCONT)

    def _jumping_clock(self) -> dict[str, str]:
        """A clock that ``self._clock`` sets while the work goes on."""
        self._set_clock(0)
        return {"PYTHONPATH": str(_AT_START), "JUMPING_CLOCK": str(self._clock)}

    def _set_clock(self, seconds: int) -> None:
        new = self._clock.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._clock)  # somebody may be reading it

    def _restore(self) -> None:
        self._servers.restore()
        _make_writable(self._workspace.state, True)
        self._lied |= self._servers.told_a_lie()


def try_out(scenario: Scenario, folder: Path, servers: Servers) -> Verdict:
    """Leaves nothing behind, unless something is to be looked at."""
    servers.forget()
    verdict = Trial(scenario, folder, servers).judge()
    if verdict.complaints:
        (folder / "complaints").write_text("\n".join(verdict.complaints))
    else:
        shutil.rmtree(folder)
    return verdict


def _as_a_user(command: Sequence[str]) -> Sequence[str]:
    """Whom file modes hold back, though it be root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--", *command]


def _make_writable(folder: Path, writable: bool) -> None:
    for path in sorted(folder.rglob("*"), reverse=not writable) if folder.exists() else ():
        path.chmod((0o700 if path.is_dir() else 0o600) if writable else (0o500 if path.is_dir() else 0o400))
    if folder.exists():
        folder.chmod(0o700 if writable else 0o500)


def _kill_children(pid: int, name: str) -> None:
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if name in " ".join(process.cmdline()):
                process.kill()
        except psutil.NoSuchProcess:
            continue
