"""The storage server: the login with its keys, rsync here and there, and a file that goes there and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audioctl.doctor.findings import Finding, Verdict, check
from audioctl.errors import AudioctlError
from audioctl.settings import Upload
from audioctl.storage.check import check_destination
from audioctl.storage.destination import Destination, Kind, parse_destination
from audioctl.storage.login import Login, login_by_hand, rsync_version_here, try_login
from audioctl.storage.ssh import all_ssh_options

_NEEDS_MKPATH = (3, 2, 3)
"""rsync before 3.2.3 makes no folders above the destination's own; audioctl makes them itself, but behind a daemon."""


def examine_destination(upload: Upload) -> Iterator[Finding]:
    """One finding a check. What needs a login is left out where there is none."""
    try:
        destination = parse_destination(upload.destination)
    except AudioctlError as error:
        yield Finding("destination", Verdict.BAD, error.message, error.hint)
        return
    key = Path(upload.ssh_key) if upload.ssh_key else None
    login = None
    if destination.kind is Kind.SSH:
        try:
            login = try_login(destination, ssh_key=key, ssh_options=all_ssh_options(upload))
        except AudioctlError as error:
            by_hand = login_by_hand(destination, ssh_key=key, ssh_options=upload.ssh_options)
            hint = " ".join(filter(None, [error.hint, f"By hand, that is `{by_hand}`."]))
            yield Finding("ssh", Verdict.BAD, error.message, hint)
            return
        yield Finding("ssh", Verdict.GOOD, f"{destination.ssh_host} takes the key {login.key}.")
        shown = f"{destination.ssh_host} shows the host key that is known: {login.host_key}."
        yield Finding("host key", Verdict.GOOD, shown)
    yield check("rsync", lambda: _rsync(destination, login))
    yield check("destination", lambda: _round_trip(destination, key, upload))


def _rsync(destination: Destination, login: Login | None) -> Finding | str:
    here = rsync_version_here()
    if destination.kind is Kind.LOCAL:
        return f"rsync {here}."
    there = login.rsync_version if login else None
    told = f"rsync {here} here; {f'{there} on {destination.ssh_host}' if there else 'the server does not tell its own'}"
    old = [text for text in (here, there) if text and _numbers(text) < _NEEDS_MKPATH]
    if old and destination.kind is Kind.DAEMON:
        hint = "rsync before 3.2.3 makes only the last folder of the destination: have the others made there."
        return Finding("rsync", Verdict.LOOK, f"{told}.", hint)
    return f"{told}."


def _round_trip(destination: Destination, key: Path | None, upload: Upload) -> str:
    check_destination(destination, ssh_key=key, ssh_options=all_ssh_options(upload))
    return f"{destination} takes files and gives them back."


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
