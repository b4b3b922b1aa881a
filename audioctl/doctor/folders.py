"""The folders of the settings: whether they can be used, on what file system they are, how fast, by whose clock."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from audioctl.archives import days_with_archives
from audioctl.configuration import PROJECT_FILE, is_remote
from audioctl.doctor.findings import Finding, Verdict
from audioctl.errors import AudioctlError, ScratchError
from audioctl.mounts import IN_MEMORY, OF_ONE_MACHINE, advice_for_state, mount_of
from audioctl.permissions import make_folder
from audioctl.settings import Paths, Settings

LITTLE_SCRATCH_BYTES = 10 * 1000**3
"""A day's archive keeps far less there; a server that is away for an hour may not."""

SLOW_SCRATCH_MB_PER_SECOND = 20
"""Opus files come at 2 MB/s where a GPU hears 500 times as fast as people speak (32 kbit/s each). Ten times that, so
that clips too large for memory (``extract.spool_above``) hold nothing up either."""

_TRIAL_BYTES = 100 * 1000**2
_TRIAL_SECONDS = 3.0
_BLOCK_BYTES = 4 * 1024**2

NOTABLE_CLOCK_SECONDS = 5.0
"""Far more than machines that ask for the time (NTP) differ, and less than anything here waits for by the clock."""


def settings_are_there(files: Sequence[Path], cwd: Path) -> Finding | str:
    """``files`` are those that were read, from ``cwd``."""
    if files:
        return f"Settings come from {' and '.join(map(str, files))}."
    return Finding(
        "settings",
        Verdict.LOOK,
        f"No file of settings was read: there is no {PROJECT_FILE} in {cwd}, so all have their defaults.",
        f"Go to the folder of your {PROJECT_FILE}, name the file with --config, or write one with `audioctl init`.",
    )


def state_is_writable(state_dir: Path) -> str:
    """Raises AudioctlError."""
    try:
        make_folder(state_dir)
        with TemporaryFile(dir=state_dir):
            pass
    except OSError as error:
        raise AudioctlError(
            f"{state_dir} cannot be written: {error.strerror}.", hint="Choose another folder with paths.state_dir."
        ) from error
    return f"{state_dir} can be written."


def state_file_system(state_dir: Path, mounts: str) -> Finding | str:
    """Whether it keeps what is said to be written, and has the locks that the ledger needs. ``mounts``: as the kernel
    writes them to /proc/self/mounts."""
    mount = mount_of(state_dir.resolve(), mounts)
    kind = mount.kind if mount else "a file system that has no name"
    fault = _lock_fault(state_dir)
    if fault:
        return Finding(
            "filesystem",
            Verdict.BAD,
            f"{state_dir} is on {kind}, which has no locks ({fault}): ledger.db cannot be used there.",
            "Choose another folder with paths.state_dir, or ask for a mount with locks (Lustre: flock).",
        )
    advice = advice_for_state(mount) if mount else None
    if advice and advice.fault:
        return Finding("filesystem", Verdict.LOOK, f"{state_dir} is on {kind}; {advice.fault}.", advice.hint)
    return Finding(
        "filesystem", Verdict.GOOD, f"{state_dir} is on {kind}, with locks.", advice.hint if advice else None
    )


def clock_ahead_seconds(folder: Path) -> float | None:
    """How far this machine's clock is ahead of that of the file server of ``folder``; ``None`` where nobody may write.

    By the time that the server gives to a new file, as leases do it. Halves of the time that took are the error.
    """
    probe = folder / f".clock-{secrets.token_hex(4)}"
    try:
        before = time.time()
        probe.touch(exist_ok=False)
        after = time.time()
        stamped = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        return None
    return round((before + after) / 2 - stamped, 2)


def clock(state_dir: Path) -> Finding | str:
    ahead = clock_ahead_seconds(state_dir)
    if ahead is None:
        return Finding("clock", Verdict.LOOK, f"{state_dir} cannot be written, so its clock cannot be asked.")
    return compare_clocks(ahead, "this machine", f"the file server of {state_dir}")


def compare_clocks(ahead_seconds: float, one: str, other: str) -> Finding | str:
    if abs(ahead_seconds) < NOTABLE_CLOCK_SECONDS:
        return f"The clocks of {one} and of {other} agree within {max(abs(ahead_seconds), 0.1):.1f} s."
    return Finding(
        "clock",
        Verdict.LOOK,
        f"The clock of {one} is {abs(ahead_seconds):,.0f} s {'ahead of' if ahead_seconds > 0 else 'behind'} that of "
        f"{other}.",
        "Times and speeds in `audioctl status` will be wrong by that, leases will not; `timedatectl` tells whether the "
        "clock is kept right (NTP): tell the machine's administrators.",
    )


def archives_are_there(paths: Paths) -> Finding | str:
    """Raises ConfigurationError for settings that cannot work."""
    if days := days_with_archives(paths.archives, paths.pattern):
        return f"{paths.archives} has {days[0]}{f' to {days[-1]}' if days[1:] else ''}."
    before_day = paths.archives.partition("{")[0]
    folder = Path(before_day)
    folder = folder if folder.is_dir() or before_day.endswith("/") else folder.parent
    if not folder.exists():
        fault = f"{folder} does not exist."
    elif not os.access(folder, os.R_OK | os.X_OK):
        fault = f"{folder} cannot be read."
    else:
        fault = f"{paths.archives} has no day yet, with names as {paths.pattern}."
    return Finding("archives", Verdict.LOOK, fault, "Set paths.archives and paths.pattern, or use process-tar.")


def scratch(setting: str, mounts: str) -> Finding | str:
    """Space and speed. Raises ScratchError where no folder can be made there."""
    from audioctl.pipeline.scratch import scratch_folder, scratch_root

    root = scratch_root(setting, os.environ)
    with scratch_folder(root) as folder:
        free = shutil.disk_usage(root).free
        try:
            written, read = write_and_read_speed(folder, min(_TRIAL_BYTES, free // 4))
        except OSError as error:
            raise ScratchError(
                f"{root} cannot be used: {error.strerror}.", hint="Point paths.scratch to another local folder."
            ) from error
    mount = mount_of(root.resolve(), mounts)
    in_memory = " of memory" if mount and mount.kind in IN_MEMORY else ""
    message = (
        f"{root} has {free / 1e9:,.0f} GB free{in_memory}; it writes {written:,.0f} MB/s and reads {read:,.0f} MB/s."
    )
    if free < LITTLE_SCRATCH_BYTES:
        return Finding("scratch", Verdict.LOOK, message, "Opus files wait there while the storage server is away.")
    if min(written, read) < SLOW_SCRATCH_MB_PER_SECOND:
        return Finding(
            "scratch",
            Verdict.LOOK,
            message,
            f"Less than {SLOW_SCRATCH_MB_PER_SECOND} MB/s may hold jobs up: point paths.scratch to a disk of the node.",
        )
    return message


def write_and_read_speed(folder: Path, size_bytes: int) -> tuple[float, float]:
    """MB/s, to the disk and back, by a file of ``size_bytes`` or what 3 s are enough for. Raises OSError."""
    # A disk that compresses must not gain by zeros.
    block = bytearray(os.urandom(max(1, min(_BLOCK_BYTES, size_bytes))))
    with TemporaryFile(dir=folder, buffering=0) as file:
        begun, written = time.monotonic(), 0
        while written < size_bytes and time.monotonic() < begun + _TRIAL_SECONDS:
            written += file.write(block)
            os.fdatasync(file.fileno())
        write_seconds = time.monotonic() - begun
        file.seek(0)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the disk, not from memory
        begun, read = time.monotonic(), 0
        while time.monotonic() < begun + _TRIAL_SECONDS and (count := file.readinto(block)):
            read += count
        read_seconds = time.monotonic() - begun
    return written / 1e6 / max(write_seconds, 1e-6), read / 1e6 / max(read_seconds, 1e-6)


def shared(settings: Settings, mounts: str) -> Finding | str:
    """Whether the folders that submitting and working machines both use may be seen by both."""
    folders = {
        "paths.state_dir": settings.paths.state_dir,
        "paths.archives": settings.paths.archives.partition("{")[0],
        "paths.models": settings.paths.models,
        "upload.destination": settings.upload.destination,
    }
    local = []
    for setting, folder in folders.items():
        if folder and not is_remote(folder):
            mount = mount_of(Path(folder).expanduser().resolve(), mounts)
            if mount and mount.kind in OF_ONE_MACHINE:
                local.append(f"{setting} ({mount.kind})")
    if not local:
        return "The folders of the settings are not on file systems of this machine alone."
    return Finding(
        "shared",
        Verdict.LOOK,
        f"The nodes may not have what is on a file system of this machine: {', '.join(local)}.",
        "Jobs need these folders under the same names: choose ones on a shared disk, unless this machine exports them; "
        "`audioctl doctor --on-node` finds out.",
    )


def _lock_fault(folder: Path) -> str | None:
    """What the file system says to a lock as SQLite takes it; ``None`` where it gives one."""
    with TemporaryFile(dir=folder) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror
    return None
