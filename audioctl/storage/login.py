"""One login on the storage server that tells how it went: which key was taken, whose host key was seen, which rsync."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audioctl.environment import SSH_AGENT, without_secrets
from audioctl.storage.destination import Destination
from audioctl.storage.failures import explain
from audioctl.storage.processes import Finished, Processes, require_program
from audioctl.storage.ssh import CONNECT_SECONDS, check_ssh, ssh_command

_CONNECTION_FAILED = 255

# What ssh -v of OpenSSH 7 to 10 says.
_KEY = re.compile(r"^debug1: Server accepts key: (?P<key>.+?)(?: explicit)?\r?$", re.MULTILINE)
_HOST_KEY = re.compile(r"^debug1: Server host key: (?P<key>.+?)\r?$", re.MULTILINE)
_METHOD = re.compile(r'^(?:debug1: )?Authenticat(?:ed to .* using|ion succeeded) "?\(?(?P<method>[\w-]+)', re.MULTILINE)
_NOISE = re.compile(
    r"^(?:debug\d: .*|OpenSSH_.*|Transferred: .*|Bytes per second: .*|Authenticated to .*)$\n?", re.MULTILINE
)

_VERSION = re.compile(rb"rsync +version +v?(?P<version>[\w.]+)")


@dataclass(frozen=True, slots=True)
class Login:
    """What ssh told of a login that worked. The server may not let anything but transfers run: then it tells nothing of
    its ``rsync_version``."""

    key: str
    host_key: str
    rsync_version: str | None


def try_login(destination: Destination, *, ssh_key: Path | None, ssh_options: Sequence[str]) -> Login:
    """Logs in by itself, over no connection that is there already. Raises TransferError, ConfigurationError."""
    check_ssh()
    processes = Processes(without_secrets(os.environ, SSH_AGENT))
    command = [*ssh_command(ssh_key, ssh_options), "-v", "-o", "ControlPath=none", destination.ssh_host]
    finished = processes.run([*command, "rsync --version"], timeout_seconds=2 * CONNECT_SECONDS)
    key, host_key = _KEY.search(finished.stderr), _HOST_KEY.search(finished.stderr)
    if finished.returncode == _CONNECTION_FAILED or finished.timed_out:
        said = _NOISE.sub("", finished.stderr)
        raise explain(Finished(finished.returncode, b"", said, finished.timed_out), destination, 2 * CONNECT_SECONDS)
    method = _METHOD.search(finished.stderr)
    return Login(
        key["key"] if key else (method["method"] if method else "no key"),
        host_key["key"] if host_key else "?",
        _version_in(finished.stdout),
    )


def login_by_hand(destination: Destination, *, ssh_key: Path | None, ssh_options: Sequence[str]) -> str:
    """What a person types to log in there, so that ssh may ask whether the host key is right."""
    key = ["-i", str(ssh_key)] if ssh_key else []
    options = (part for option in ssh_options for part in ("-o", option))
    return shlex.join(["ssh", *key, *options, destination.ssh_host])


def rsync_version_here() -> str:
    """Raises ConfigurationError where there is none."""
    require_program("rsync", "rsync")
    finished = Processes(without_secrets(os.environ)).run(["rsync", "--version"], timeout_seconds=CONNECT_SECONDS)
    return _version_in(finished.stdout) or "of a version that it does not tell"


def _version_in(printed: bytes) -> str | None:
    match = _VERSION.search(printed)
    return match["version"].decode(errors="replace") if match else None
