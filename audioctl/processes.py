"""Telling whether a process that a file names is still the one that wrote the file, and whose this one is."""

import os
import pwd
import secrets
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """Tells this boot of this machine, and this process namespace of it, from any other.

    A container shares its host's boot; its process ids mean nothing outside of it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        # Where /proc does not say, no process can claim to be on the same machine as another.
        return f"unknown {secrets.token_hex(8)}"


def process_started(pid: int) -> str | None:
    """The start of a living process in clock ticks since boot (proc(5), stat, field 22); ``None`` when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def is_running(pid: int, started: str) -> bool | None:
    """Whether the process ``pid`` of this machine that began then still runs; ``None`` when that cannot be told."""
    now = process_started(pid)
    if now is not None:
        return now == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # A process of another user, which /proc hides from us (mount option hidepid), or its zombie.
        return None
    return False


def user_name() -> str:
    """Whose process this is; the number where the machine has no name for it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
