"""The configuration files of a Slurm cluster on one machine, for Slurm 21.08 and newer."""

import getpass
import re
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from slurm_daemons import HOST, SEARCH_PATH

# Slurm believes in a GPU where it sees a character device, each only once. Nothing ever opens these.
_GPU_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")


def write_lines(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def setting_lines(settings: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in settings.items()]


def controller_settings(folder: Path, *, port: int, munge_socket: Path, mail: Path) -> dict[str, str]:
    user, host = getpass.getuser(), _host_name()
    settings = {
        "ClusterName": "lab",
        "SlurmctldHost": f"{host}({HOST})",
        "SlurmctldPort": f"{port}",
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "StateSaveLocation": f"{folder}/state",
        "SlurmctldPidFile": f"{folder}/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/slurmd-%n.pid",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "MailProg": f"{mail}",
        "ProctrackType": "proctrack/linuxproc",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "SlurmdParameters": "config_overrides",  # the nodes have more cores than the machine
        "GresTypes": "gpu",
        "PriorityType": "priority/basic",
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "task=1",
        "ReturnToService": "2",
        # All that follows is only for speed: left alone, a trivial job takes 3 s and a requeued one 2 min more.
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1",
        "AuthInfo": f"socket={munge_socket},cred_expire=5",
        "KillWait": "5",
        "SlurmdTimeout": "15",
    }
    if _address_of(host) == HOST:
        settings["CommunicationParameters"] = "NoInAddrAny,NoCtldInAddrAny"
    return settings


def accounting_settings(*, port: int, munge_socket: Path) -> dict[str, str]:
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": HOST,
        "AccountingStoragePort": f"{port}",
        "AccountingStoragePass": f"{munge_socket}",
        "AccountingStorageTRES": "gres/gpu",
        "AccountingStoreFlags": "job_comment",
    }


def node_lines(ports: Mapping[str, int], *, cpus: int, memory_mb: int, gpus: int) -> list[str]:
    """``ports`` by the names of the nodes."""
    hardware = f"CPUs={cpus} CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory_mb}"
    if gpus:
        hardware += f" Gres=gpu:{gpus}"
    return [
        f"NodeName={name} NodeHostname={_host_name()} NodeAddr={HOST} Port={port} {hardware} State=UNKNOWN"
        for name, port in ports.items()
    ]


def partition_lines(further: Sequence[str]) -> list[str]:
    main = "main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=100 State=UP"
    return [f"PartitionName={partition}" for partition in (main, *further)]


def gres_lines(nodes: Sequence[str], gpus: int) -> list[str]:
    assert gpus <= len(_GPU_DEVICES), f"at most {len(_GPU_DEVICES)} GPUs for a node"
    return [f"NodeName={','.join(nodes)} Name=gpu File={device}" for device in _GPU_DEVICES[:gpus]]


def cgroup_lines() -> list[str]:
    """A slurmd that looks for cgroups by itself does not start where there are none."""
    output = subprocess.run(["slurmd", "-V"], env={"PATH": SEARCH_PATH}, check=True, capture_output=True, text=True)
    version = re.search(r"(\d+)\.(\d+)", output.stdout)
    assert version is not None, output.stdout
    # Before 24.05 none of the plugins is harmless by name; this one is as long as nothing asks for its services.
    harmless = "disabled" if (int(version[1]), int(version[2])) >= (24, 5) else "cgroup/v1"
    return [f"CgroupPlugin={harmless}"]


def write_mail_program(path: Path, mails: Path) -> None:
    """In place of mail, which Slurm calls with ``-s SUBJECT RECIPIENT``: a line of ``mails`` for each."""
    write_lines(path, "#!/bin/sh", f"""printf '%s\\t%s\\n' "$3" "$2" >> {shlex.quote(str(mails))}""")
    path.chmod(0o755)
    mails.touch()


def _host_name() -> str:
    return socket.gethostname().partition(".")[0]


def _address_of(host: str) -> str | None:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return None
