"""Which file system holds a folder, and what follows for what audioctl keeps there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

OF_ONE_MACHINE = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
"""File systems that are not shared by themselves, as the kernel names them."""

IN_MEMORY = {"ramfs", "tmpfs"}

_PATIENT_DIRECTORIES_SECONDS = 60
"""nfs(5): for so long a client may take what it knows of a folder for true (acdirmax), unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Mount:
    kind: str
    options: frozenset[str]

    def option(self, name: str) -> str | None:
        """The value of ``name=value``."""
        return next((option.partition("=")[2] for option in self.options if option.startswith(f"{name}=")), None)


@dataclass(frozen=True, slots=True)
class Advice:
    """Of a file system for the state folder: the ``fault``, if its options have one, and what to set or to look at."""

    fault: str | None
    hint: str | None


def read_mounts() -> str:
    return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")


def mount_of(folder: Path, mounts: str) -> Mount | None:
    """What holds ``folder``, an absolute path, where ``mounts`` is as /proc/self/mounts."""
    fields = (line.split(" ") for line in mounts.splitlines())
    # Of several mounts at one place, the last hides the others.
    known = {_unescape(place): Mount(kind, frozenset(options.split(","))) for _, place, kind, options, *_ in fields}
    return next((known[f"{place}"] for place in (folder, *folder.parents) if f"{place}" in known), None)


def advice_for_state(mount: Mount) -> Advice:
    """Journals and leases rely on no lock; what they do rely on is that a write that was said to be done is done.

    ``ledger.db`` is locked (SQLite, rollback journal), which has to reach from one login node to the other.
    """
    if mount.kind.startswith("nfs"):
        return _nfs(mount)
    if mount.kind == "lustre":
        return _lustre(mount)
    if mount.kind == "gpfs":
        return Advice(
            None,
            "Heartbeats of jobs are modification times: `mmlsfs FILESYSTEM -E` has to say yes (exact mtime), else ask "
            "its administrators for `mmchfs FILESYSTEM -E yes`.",
        )
    return Advice(None, None)


def _nfs(mount: Mount) -> Advice:
    if "soft" in mount.options or "softerr" in mount.options:
        return Advice(
            "it is mounted soft: a busy server makes writes fail that a hard mount would repeat",
            "Ask for the mount option hard, or choose another folder with paths.state_dir.",
        )
    if "nolock" in mount.options or mount.option("local_lock") in ("all", "posix"):
        return Advice(
            "its locks do not reach other machines (nolock, local_lock): two login nodes may spoil ledger.db",
            "Type audioctl's commands on one login node only, or ask for the mount option local_lock=none. Jobs need "
            "no locks, and `audioctl ledger rebuild` mends the ledger.",
        )
    seconds = int(mount.option("acdirmax") or _PATIENT_DIRECTORIES_SECONDS)
    if "noac" in mount.options or seconds == 0:
        return Advice(None, None)
    return Advice(
        None, f"`audioctl status` may be {seconds} s behind the jobs; the mount option acdirmax makes it less."
    )


def _lustre(mount: Mount) -> Advice:
    if "flock" not in mount.options:
        return Advice(
            "its locks do not reach other machines (no flock): two login nodes may spoil ledger.db",
            "Type audioctl's commands on one login node only, or ask for the mount option flock. Jobs need no locks, "
            "and `audioctl ledger rebuild` mends the ledger.",
        )
    return Advice(None, "Its files are small and many: `lfs setstripe -c 1` on a new paths.state_dir keeps each whole.")


def _unescape(place: str) -> str:
    """As the kernel writes blanks and backslashes in /proc/self/mounts."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)
