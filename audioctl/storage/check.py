"""Whether the destination can be written to, asked before a long job needs it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from audioctl.clips import OpusFile
from audioctl.storage.destination import Destination
from audioctl.storage.rsync import RsyncClient

TEST_FILE = ".audioctl-write-test"


def check_destination(
    destination: Destination,
    *,
    ssh_key: Path | None = None,
    ssh_options: Sequence[str] = (),
    timeout_seconds: float = 60,
) -> None:
    """Writes a small file, ``.audioctl-write-test``, to the root of the destination; it stays there.

    Raises ConfigurationError or UploadError with what is wrong: the host key, the login, the name, the connection,
    no rsync over there, a folder that is read-only, full or not ours.
    """
    with (
        RsyncClient(destination, ssh_key=ssh_key, ssh_options=ssh_options) as client,
        tempfile.NamedTemporaryFile(prefix="audioctl-") as file,
    ):
        file.write(b"audioctl wrote this to see whether it can write here. It may be deleted.\n")
        file.flush()
        test_file = OpusFile(0, Path(file.name), TEST_FILE, size_bytes=file.tell(), sha256="")
        # A file of the same size and time may be there already, and would not be written again.
        client.send([test_file], timeout_seconds=timeout_seconds, options=["--ignore-times"])
