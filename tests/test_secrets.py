"""Passwords are planted in the environment of whole jobs and then looked for everywhere: in every process that the job
starts, while it runs, and in every file and every line that it leaves.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sshd import HOST, Sshd, free_port
from uploads import MakeFiles, StandIn, Target
from workspace import DAY, Result, Workspace

from audioctl.database.connection import connect
from audioctl.environment import SECRETS
from audioctl.states import ExitCode

if TYPE_CHECKING:
    from postgres import PostgresServer

CLIPS = 6
PROGRAMS = ("rsync", "ssh", "xz")
AGENT = "/nowhere/planted-agent"


@dataclass
class Planted:
    """A password that a role of the database has, and that nothing else in the world holds."""

    password: str = field(default_factory=lambda: f"planted{secrets.token_hex(12)}")
    role: str = field(default_factory=lambda: f"keeper_{secrets.token_hex(4)}")

    @property
    def environment(self) -> dict[str, str]:
        """It is every secret there may be."""
        return dict.fromkeys(SECRETS, self.password) | {"SSH_AUTH_SOCK": AGENT}

    def files_with_it(self, folder: Path) -> list[Path]:
        return [path for path, content in contents(folder) if self.password.encode() in content]


@pytest.fixture
def planted(database: str, postgres: PostgresServer) -> Iterator[Planted]:
    """Its role may do anything with ``database``."""
    found = Planted()
    role = sql.Identifier(found.role)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} superuser login password {}").format(role, found.password))
    yield found
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL("drop role {}").format(role))


@pytest.fixture
def recording(workspace: Workspace, database: str) -> Workspace:  # noqa: ARG001 - DB_CREDS is set
    """Its clips go into the database, which has its tables."""
    workspace.configure("database", enabled=True)
    assert workspace.audioctl("db", "upgrade").returncode == ExitCode.DONE
    workspace.write_clips(CLIPS)
    return workspace


def way_in(database: str, postgres: PostgresServer, planted: Planted, **parameters: str) -> str:
    """``planted.role`` into the database, over the loopback port, where a password is asked for."""
    return make_conninfo(database, host=HOST, port=str(postgres.port), user=planted.role, **parameters)


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Of every file in it, but those that go away meanwhile, or are none (sockets)."""
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file():
                    yield path, path.read_bytes()


def assert_nothing_was_said(workspace: Workspace, result: Result, *words: str) -> None:
    """Neither by the job nor in any of its logs, nor in an error that its journal keeps."""
    said = [result.stdout, result.stderr, *(str(event.get("error")) for event in workspace.events())]
    said += [content.decode() for path, content in contents(workspace.state) if path.suffix == ".log"]
    for word in words:
        assert not any(word in text for text in said), said


# What the programs that a job starts can see


class Sightings:
    """Of each kind of process that a job has started, the environments and command lines with which it was."""

    def __init__(self, folder: Path) -> None:
        self.environments: defaultdict[str, set[bytes]] = defaultdict(set)
        self.command_lines: set[bytes] = set()
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True)
        for program in PROGRAMS:
            # These may come and go too fast to be seen: they leave a note.
            stand_in = folder / program
            stand_in.write_text(
                f'#!/bin/sh\nnote="{self.notes}/$$.{program}"\n'
                'cat /proc/$$/environ >"$note.environ"\ncat /proc/$$/cmdline >"$note.cmdline"\n'
                f'PATH=${{PATH#*:}}\nexec {program} "$@"\n'
            )
            stand_in.chmod(0o755)

    @property
    def path(self) -> str:
        return f"{self.folder}:{os.environ['PATH']}"

    def look_at(self, workspace: Workspace) -> None:
        for process in workspace.processes():
            folder = Path("/proc", str(process.pid))
            with suppress(FileNotFoundError, ProcessLookupError):
                self._add((folder / "cmdline").read_bytes(), (folder / "environ").read_bytes())

    def kinds_with(self, text: bytes) -> set[str]:
        return {kind for kind, found in self.environments.items() if any(text in environ for environ in found)}

    def read_notes(self) -> None:
        for note in self.notes.glob("*.environ"):
            self.environments[note.suffixes[0].strip(".")].add(note.read_bytes())
            self.command_lines.add(note.with_suffix(".cmdline").read_bytes())

    def _add(self, command_line: bytes, environment: bytes) -> None:
        self.command_lines.add(command_line)
        # Those in between, from fork to exec, have the name of who they were.
        for kind in ("process-tar", "multiprocessing.forkserver", "multiprocessing.resource_tracker"):
            if kind.encode() in command_line:
                self.environments[kind].add(environment)


@pytest.mark.parametrize("variable", ["DB_CREDS", "PGPASSWORD"])
def test_the_password_of_the_database_stays_in_the_job(
    recording: Workspace,
    database: str,
    postgres: PostgresServer,
    planted: Planted,
    ssh_storage: Sshd,  # noqa: ARG001 - it runs
    variable: str,
) -> None:
    compressed = ["xz", "-0", "--threads=2", "--block-size=64KiB", "--stdout", str(recording.archive)]
    recording.archive.write_bytes(subprocess.run(compressed, capture_output=True, check=True).stdout)
    password = {"password": planted.password} if variable == "DB_CREDS" else {}
    environment = {**planted.environment, "DB_CREDS": way_in(database, postgres, planted, **password)}
    if variable == "DB_CREDS":
        del environment["PGPASSWORD"]
    sightings = Sightings(recording.folder.with_name(f"{recording.folder.name}-seen"))
    job = recording.start(
        "process-tar", DAY, str(recording.archive), "12_30", environment={**environment, "PATH": sightings.path}
    )
    while job.poll() is None:
        sightings.look_at(recording)
        assert planted.files_with_it(recording.folder) == []
    stdout, stderr = job.communicate()
    sightings.read_notes()

    assert job.returncode == ExitCode.DONE, stderr
    recording.assert_all_was_heard()
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from transcripts").fetchone() == (CLIPS,)
    secret = planted.password.encode()
    [own] = sightings.environments.pop("process-tar")
    assert secret in own
    assert set(sightings.environments) == {
        *("multiprocessing.forkserver", "multiprocessing.resource_tracker"),
        *PROGRAMS,
    }
    assert sightings.kinds_with(secret) == set()
    assert sightings.kinds_with(AGENT.encode()) == {"rsync", "ssh"}
    assert not any(secret in line for line in sightings.command_lines)
    assert planted.files_with_it(recording.folder) == []
    result = subprocess.CompletedProcess(job.args, job.returncode, stdout, stderr)
    assert_nothing_was_said(recording, result, planted.password, *recording.said.values())


def test_rsync_gets_the_password_of_a_daemon_and_nothing_more(
    guarded: Target, stand_in: StandIn, make_files: MakeFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hunter2")
    stand_in.write(f'env >{tmp_path}/seen\nPATH=${{PATH#*:}}\nexec rsync "$@"')
    files = make_files(1)
    assert guarded.upload(files).arrived == files
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen & SECRETS == {"RSYNC_PASSWORD"}
    assert not any("hunter2" in call for call in stand_in.calls())
    here = Target(str(tmp_path / "store"), tmp_path / "store")
    assert here.upload(files).arrived == files
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen & SECRETS == set()


@pytest.mark.parametrize(("in_service", "in_environment"), [("right", "wrong"), ("", "right")])
def test_the_password_of_a_service_comes_before_that_of_the_environment(
    database: str,
    postgres: PostgresServer,
    planted: Planted,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    in_service: str,
    in_environment: str,
) -> None:
    passwords = {"right": planted.password, "wrong": "another"}
    lines = [*way_in(database, postgres, planted).split(), f"password={passwords.get(in_service, '')}"]
    services = tmp_path / "services"
    services.write_text("\n".join(["[radio]", *(line for line in lines if not line.endswith("="))]) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    with connect(service="radio", secrets={"PGPASSWORD": passwords[in_environment]}) as connection:
        assert connection.info.user == planted.role


# What is said and kept when something goes wrong


@pytest.mark.parametrize("trouble", ["refused", "away", "unreadable", "not encoded"])
def test_a_database_that_fails_does_not_make_the_password_known(
    recording: Workspace, database: str, postgres: PostgresServer, planted: Planted, trouble: str
) -> None:
    """The password is wrong (that of nobody), or right and in a string that cannot be used."""
    password = planted.password
    credentials = {
        "refused": way_in(database, postgres, planted, password=f"{password}x"),
        "away": f"host={HOST} port={free_port()} user={planted.role} password={password}",
        "unreadable": f"user={planted.role} password={password} '",
        "not encoded": f"postgresql://{planted.role}:{password}@{password}@{HOST}/{password}",
    }[trouble]
    result = recording.process_tar(environment={**planted.environment, "DB_CREDS": credentials})
    assert result.returncode != ExitCode.DONE
    assert "PostgreSQL" in result.stderr or "DB_CREDS" in result.stderr
    assert "Traceback" not in result.stderr
    assert planted.files_with_it(recording.folder) == []
    assert_nothing_was_said(recording, result, password, *recording.said.values())


def test_a_row_that_is_refused_is_not_quoted(recording: Workspace, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("alter table transcripts add check (transcript_text = '')")
    result = recording.process_tar()
    assert result.returncode == ExitCode.LOOK, result.stderr
    assert "does not take these rows" in result.stderr
    assert_nothing_was_said(recording, result, *recording.said.values())


CRASH = """
import sys
from audioctl import cli
from audioctl.{module} import {name}

def crash(*arguments, **more):
    raise RuntimeError("a fault of ours")

{name}.{method} = crash
sys.exit(cli.main())
"""


@pytest.mark.parametrize("place", ["pipeline.record Recorder record", "ledger.journal JournalWriter append"])
def test_a_traceback_does_not_make_the_password_known(
    recording: Workspace, database: str, postgres: PostgresServer, planted: Planted, place: str
) -> None:
    module, name, method = place.split()
    code = CRASH.format(module=module, name=name, method=method)
    configuration = str(recording.write_configuration())
    credentials = way_in(database, postgres, planted, password=planted.password)
    process = recording.start_program(
        [sys.executable, "-c", code, "--config", configuration, "process-tar", DAY, str(recording.archive), "12_30"],
        environment={**planted.environment, "DB_CREDS": credentials},
    )
    stdout, stderr = process.communicate()
    result = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
    assert result.returncode == ExitCode.FAILED
    assert "Traceback" in stderr
    assert "a fault of ours" in stderr
    match = re.search(r"report it with\s+(\S+)", stderr)
    assert match is not None, stderr
    report = Path(match[1])
    assert "a fault of ours" in report.read_text()
    assert permissions(report) == 0o600
    assert planted.files_with_it(recording.folder) == []
    assert_nothing_was_said(recording, result, planted.password, *recording.said.values())


# What a day leaves, and who can read it


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    """Of the folder and all that is in it, by path; without the bit that makes a folder a group's."""
    return {str(path.relative_to(folder)): permissions(path) & ~stat.S_ISGID for path in (folder, *folder.rglob("*"))}


@pytest.fixture
def umask() -> Iterator[None]:
    """Is put back."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def submit_day(workspace: Workspace, **environment: str) -> None:
    workspace.configure("upload", attempts=1)
    done = workspace.audioctl("submit-day", DAY, "--executor", "local", "--wait", environment=environment)
    assert done.returncode == ExitCode.DONE, done.stdout + done.stderr
    workspace.wait_until_no_process_is_left()
    workspace.assert_all_was_heard()
    assert_nothing_was_said(workspace, done, *workspace.said.values())


@pytest.mark.usefixtures("umask")
def test_a_day_leaves_no_secret_and_nothing_that_others_can_read(
    recording: Workspace, database: str, postgres: PostgresServer, planted: Planted
) -> None:
    os.umask(0)
    credentials = way_in(database, postgres, planted, password=planted.password)
    submit_day(recording, **planted.environment | {"DB_CREDS": credentials})
    assert planted.files_with_it(recording.folder) == []
    found = modes(recording.state)
    assert {"ledger.db", f"journals/{DAY}/12_30.jsonl"} < found.keys()
    assert {path.rpartition("/")[2] for path in found} > {
        "run.json",
        "job.sh",
        "config.toml",
        "12_30.log",
        "jobs.jsonl",
    }
    assert {path: mode for path, mode in found.items() if mode not in (0o600, 0o700)} == {}
    assert all((mode == 0o700) == (recording.state / path).is_dir() for path, mode in found.items())


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("state_mode", "umask_of_jobs", "shared"), [(0o2770, 0o007, 0o070), (0o2770, 0o022, 0o050)])
def test_a_state_folder_of_a_group_is_shared_as_far_as_the_umask_allows(
    workspace: Workspace, state_mode: int, umask_of_jobs: int, shared: int
) -> None:
    workspace.write_clips(CLIPS)
    workspace.state.mkdir()
    workspace.state.chmod(state_mode)
    os.umask(umask_of_jobs)
    submit_day(workspace)
    found = dict(modes(workspace.state))
    found.pop(".")
    for path, mode in found.items():
        expected = 0o700 | shared
        assert mode == (expected if (workspace.state / path).is_dir() else expected & 0o660), path


@pytest.mark.usefixtures("umask")
def test_a_folder_that_others_can_read_is_not_filled_with_files_that_they_can_read(workspace: Workspace) -> None:
    workspace.write_clips(1)
    workspace.state.mkdir(mode=0o755)
    workspace.process()
    assert set(modes(workspace.state).values()) == {0o755, 0o700, 0o600}
    assert permissions(workspace.state) == 0o755
