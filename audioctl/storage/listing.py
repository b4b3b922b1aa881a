"""What lies at the destination, and bringing it back: the storage server's side of ``verify``."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from audioctl.storage.destination import Destination
from audioctl.storage.failures import TransferError, unescape
from audioctl.storage.rsync import RsyncClient

DEFAULT_TIMEOUT_SECONDS = 3600.0
"""A day of half a million files is listed in seconds, but fetched in as long as the network needs."""

# Mode, size (with separators of thousands), date, time, name. Only regular files: links and folders do not count.
_LINE = re.compile(rb"-\S{9,10} +([\d.,]+) \d{4}/\d\d/\d\d \d\d:\d\d:\d\d (.+)")


def list_remote(
    destination: Destination,
    prefix: str,
    *,
    ssh_key: Path | None = None,
    ssh_options: Sequence[str] = (),
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> dict[str, int]:
    """Storage path and size in bytes of every file below the folder ``prefix``, for example ``audio/2025/01/25/``.

    A folder that is not there holds nothing. A name that is not UTF-8 comes with surrogate escapes, as from os.listdir.
    Raises UploadError when the destination cannot be asked or cannot be read in full.
    """
    with (
        RsyncClient(destination, ssh_key=ssh_key, ssh_options=ssh_options) as client,
        tempfile.TemporaryDirectory(prefix="audioctl-") as nowhere,
    ):
        listing = client.receive(
            [prefix], Path(nowhere), timeout_seconds=timeout_seconds, options=["--recursive", "--list-only"]
        )
    return dict(_files(listing))


def fetch(
    destination: Destination,
    storage_paths: Sequence[str],
    into: Path,
    *,
    ssh_key: Path | None = None,
    ssh_options: Sequence[str] = (),
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> None:
    """Copies files to ``into/<storage path>``; one that is not at the destination is left out.

    Raises UploadError.
    """
    with RsyncClient(destination, ssh_key=ssh_key, ssh_options=ssh_options) as client:
        client.receive(storage_paths, into, timeout_seconds=timeout_seconds, options=["--times", "--whole-file"])


def _files(listing: bytes) -> Iterator[tuple[str, int]]:
    # One line is one file: rsync escapes every newline, and in the C locale every byte beyond ASCII.
    for line in listing.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            name = unescape(match[2]).decode(errors="surrogateescape")
            yield name, int(re.sub(rb"\D", b"", match[1]))
        elif not re.match(rb"[dlpsbcD]\S{9,10} ", line):
            raise TransferError(
                f"rsync listed something that is no file: {line!r}.",
                retryable=False,
                hint="Look at what rsync prints for this folder, and whether a login there prints words of its own.",
            )
