"""A real Slurm on loopback: own key, own configuration, own accounting, free ports, all below one folder.

A plain class, for tests and benchmarks alike; what it starts, jobs too, ends with ``stop`` or its ``with`` block.
"""

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

import psutil
from slurm_accounting import Accounting, MariaDB, Slurmdbd
from slurm_configuration import (
    accounting_settings,
    cgroup_lines,
    controller_settings,
    gres_lines,
    node_lines,
    partition_lines,
    setting_lines,
    write_lines,
    write_mail_program,
)
from slurm_daemons import SEARCH_PATH, Daemon, Munge, free_ports, require_programs
from waiting import wait_until

Result = subprocess.CompletedProcess[str]

_SETTINGS_OF_COMMANDS = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SINFO_", "SCANCEL_", "SRUN_", "SALLOC_")
_NODE_AT_WORK = {"idle", "mixed", "allocated", "completing"}


class Mail(NamedTuple):
    recipient: str
    subject: str


class Cluster:
    """Nodes ``node1``, ``node2`` and so on, all in the partition ``main``; their hardware is what you claim.

    ``settings`` are lines of slurm.conf by name and win over ours; ``partitions`` are further lines, without their
    ``PartitionName=``. ``folder`` needs a short path, for Slurm's Unix sockets, and to be open to the users of ``run``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        cpus_per_node: int = 8,
        memory_mb: int = 8000,
        gpus_per_node: int = 0,
        accounting: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
        partitions: Sequence[str] = (),
    ) -> None:
        require_programs(accounting=accounting)
        folder = folder.resolve()
        log = self._log = folder / "log"
        self.work = folder / "work"
        """Where commands run if not told otherwise; open to every user."""
        for needed in (folder, log, self.work, folder / "state", folder / "spool"):
            needed.mkdir(parents=True, exist_ok=True)
        self.work.chmod(0o1777)
        self._configuration = folder / "slurm.conf"
        self._mails = folder / "mails"
        self._port, accounting_port, database_port, *node_ports = free_ports(3 + nodes)
        ports = {f"node{number}": port for number, port in enumerate(node_ports, 1)}
        daemon_environment = {"SLURM_CONF": f"{self._configuration}"}

        self._munge = Munge(folder / "munge", log / "munged.log")
        self._controller = Daemon(log / "slurmctld.log", daemon_environment, "slurmctld", "-D")
        self._nodes = {
            name: Daemon(log / f"{name}.log", daemon_environment, "slurmd", "-D", "-N", name) for name in ports
        }
        lines = controller_settings(folder, port=self._port, munge_socket=self._munge.socket, mail=folder / "mail")
        self._accounting: Accounting | None = None
        if accounting:
            lines |= accounting_settings(port=accounting_port, munge_socket=self._munge.socket)
            self._accounting = Accounting(
                database=MariaDB(folder / "database", log / "mariadbd.log", port=database_port),
                slurmdbd=Slurmdbd(
                    folder / "slurmdbd.conf", log / "slurmdbd.log", daemon_environment,
                    port=accounting_port, database_port=database_port, munge_socket=self._munge.socket,
                ),
            )  # fmt: skip
        write_lines(
            self._configuration,
            *setting_lines({**lines, **settings}),
            *node_lines(ports, cpus=cpus_per_node, memory_mb=memory_mb, gpus=gpus_per_node),
            *partition_lines(partitions),
        )
        write_lines(folder / "gres.conf", *gres_lines(list(ports), gpus_per_node))
        write_lines(folder / "cgroup.conf", *cgroup_lines())
        write_mail_program(folder / "mail", self._mails)

    def start(self) -> None:
        try:
            self._munge.start()
            if self._accounting:
                self._accounting.database.start()
                self._accounting.slurmdbd.start()
            self.start_controller()
            for node in self._nodes.values():
                node.start()
            wait_until(self._all_nodes_work, "all nodes to work")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """At once: nothing is saved, and no job is asked to end."""
        for daemon in (self._controller, *self._nodes.values(), *(self._accounting or ()), self._munge):
            daemon.kill()
        wait_until(self._end_processes, "the last process of a cluster to end")

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find Slurm's programs and this cluster."""
        return {"SLURM_CONF": f"{self._configuration}", "PATH": SEARCH_PATH}

    def attempt(
        self, *command: str | Path, user: str | None = None, cwd: Path | None = None, stdin: str = ""
    ) -> Result:
        """Runs a command as ``user``, which is one of this machine."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS_OF_COMMANDS)}
        return subprocess.run(
            command, cwd=cwd or self.work, env={**inherited, "HOME": f"{self.work}", **self.environment},
            input=stdin, capture_output=True, text=True, **_identity(user),
        )  # fmt: skip

    def run(self, *command: str | Path, user: str | None = None, cwd: Path | None = None, stdin: str = "") -> Result:
        """As ``attempt``, but the command has to succeed."""
        result = self.attempt(*command, user=user, cwd=cwd, stdin=stdin)
        assert result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stderr}"
        return result

    def submit(self, *options: str, commands: str, user: str | None = None) -> str:
        """Hands in a script of these shell commands; returns the job's id."""
        return self.run("sbatch", "--parsable", *options, user=user, stdin=f"#!/bin/sh\n{commands}\n").stdout.strip()

    def jobs(self) -> dict[str, str]:
        """States by id, ``22_4`` for a task, as the controller knows them; it forgets what ended MinJobAge ago."""
        return dict(self._pairs("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T"))

    def unfinished_jobs(self) -> dict[str, str]:
        return dict(self._pairs("squeue", "--noheader", "--array", "--format=%i|%T"))

    def accounted(self, job_id: str) -> list[tuple[str, str]]:
        """Ids and states as the accounting knows them, which lags; a requeued job is there once for each time."""
        return self._pairs("sacct", "-nPXD", "--format=JobID,State", "--jobs", job_id)

    def wait_for_state(self, job_id: str, state: str) -> None:
        wait_until(lambda: self.jobs().get(job_id) == state, f"job {job_id} to be {state}")

    def wait_for_end(self, job_id: str) -> None:
        """Of a job or of all tasks of an array, in whatever state."""
        wait_until(lambda: job_id not in map(_array_id, self.unfinished_jobs()), f"the end of job {job_id}")

    def end_at_time_limit(self, job_id: str) -> None:
        """The job's time is up within the next 30 s, which is how often Slurm looks."""
        self.run("scontrol", "update", f"jobid={job_id}", "EndTime=now+1")

    def mails(self) -> list[Mail]:
        """Those that Slurm has sent since the cluster started."""
        return [Mail(*line.split("\t")) for line in self._mails.read_text().splitlines()]

    def start_controller(self) -> None:
        self._controller.start()
        self._controller.wait_until_listening(self._port)

    def stop_controller(self) -> None:
        self._controller.stop()

    def freeze_controller(self) -> None:
        """It still takes connections but answers nothing; it does later what it was asked meanwhile."""
        self._controller.send(signal.SIGSTOP)

    def thaw_controller(self) -> None:
        self._controller.send(signal.SIGCONT)

    def start_accounting(self) -> None:
        assert self._accounting
        self._accounting.slurmdbd.start()

    def stop_accounting(self) -> None:
        """Slurm loses sight of its accounting, and catches up on it later."""
        assert self._accounting
        self._accounting.slurmdbd.stop()

    def nodes(self) -> dict[str, str]:
        """States by name; an asterisk follows that of a node which does not answer."""
        return dict(self._pairs("sinfo", "--noheader", "--Node", "--format=%N|%T"))

    def kill_node(self, name: str) -> None:
        """Its jobs go on, as do those of a node that the network has lost. Slurm finds out after SlurmdTimeout."""
        self._nodes[name].kill()

    def mark_node_down(self, name: str) -> None:
        """Its jobs end in NODE_FAIL at once; if it is alive, it is soon back."""
        self.run("scontrol", "update", f"nodename={name}", "state=down", "reason=test")

    def start_node(self, name: str) -> None:
        self._nodes[name].start()
        wait_until(self._all_nodes_work, f"{name} to work")

    def make_idle(self) -> None:
        """All is as after the start, whatever a test has done: daemons run, nodes work, no job is left."""
        self.thaw_controller()
        if self._accounting and not self._accounting.slurmdbd.is_running():
            self.start_accounting()
        if not self._controller.is_running():
            self.start_controller()
        for name, state in self.nodes().items():
            # A controller that was restarted asks for its nodes after 4 s; a slurmd that starts reports by itself.
            if state == "unknown" or not self._nodes[name].is_running():
                self.kill_node(name)
                self._nodes[name].start()
        wait_until(self._cancel_all, "all jobs to end")
        wait_until(self._all_nodes_work, "all nodes to work")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _pairs(self, *command: str) -> list[tuple[str, str]]:
        rows = (line.partition("|") for line in self.run(*command).stdout.splitlines())
        return [(job_or_node, state) for job_or_node, _, state in rows]

    def _cancel_all(self) -> bool:
        """Whether there was nothing left to cancel: what waits for a job may start when it ends."""
        jobs = set(map(_array_id, self.unfinished_jobs()))
        if jobs:
            self.attempt("scancel", "--full", "--signal=KILL", *jobs)  # the gentle way alone may take KillWait
            self.attempt("scancel", *jobs)
        return not jobs

    def _all_nodes_work(self) -> bool:
        states = self.nodes()
        for name, state in states.items():
            if state.startswith(("down", "drain", "inval")):
                self.attempt("scontrol", "update", f"nodename={name}", "state=resume")
        return _NODE_AT_WORK.issuperset(states.values())

    def _end_processes(self) -> bool:
        """Whether none was left. Jobs and their daemons outlive the daemons of the nodes."""
        processes = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                for victim in (*process.children(recursive=True), process):
                    victim.kill()
        return not processes

    def _is_ours(self, process: psutil.Process) -> bool:
        """Slurm's own processes stay in the folder of their daemon; those of a job know of the job and of us."""
        try:
            if process.name().startswith("slurm") and Path(process.cwd()) == self._log:
                return True
            environment = process.environ()
        except psutil.Error:  # it has ended, or belongs to somebody else
            return False
        return "SLURM_JOB_ID" in environment and Path(environment.get("SLURM_CONF", "")) == self._configuration


def _identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    account = pwd.getpwnam(user)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _array_id(job_id: str) -> str:
    return job_id.partition("_")[0]
