"""Telling whether a process that a file names is still the one that wrote the file."""

import socket
from pathlib import Path


def boot_id() -> str:
    """Tells this boot of this machine, and this process namespace of it, from any other.

    A container shares its host's boot; its process ids mean nothing outside of it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def process_started(pid: int) -> str | None:
    """The start of a living process in clock ticks since boot (proc(5), stat, field 22); ``None`` when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
