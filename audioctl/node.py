"""What this machine is called."""

import os
import socket


def node_name() -> str:
    """Slurm's name of the node where a job runs in Slurm, as ``squeue`` and ``sinfo`` show it; else the host's.

    The two can differ: a site may name its nodes as it likes, and have several of them on one machine.
    """
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()
