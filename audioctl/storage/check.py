"""Whether the destination can be written to and read from, asked before a long job needs it."""

import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from audioctl.clips import OpusFile
from audioctl.errors import UploadError
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
    """Writes a small file, ``.audioctl-write-test``, to the root of the destination, and reads it back; it stays there.

    Raises ConfigurationError or UploadError with what is wrong: the host key, the login, the name, the connection,
    no rsync over there, a folder that is read-only, full or not ours.
    """
    content = f"audioctl wrote this to see whether it can write here ({secrets.token_hex(8)}). It may be deleted.\n"
    with (
        RsyncClient(destination, ssh_key=ssh_key, ssh_options=ssh_options) as client,
        tempfile.TemporaryDirectory(prefix="audioctl-") as folder,
    ):
        sent, fetched = Path(folder, "sent"), Path(folder, "fetched")
        sent.write_text(content)
        test_file = OpusFile(0, sent, TEST_FILE, size_bytes=len(content), sha256="")
        # A file of the same size and time may be there already, and would not be written again.
        client.send([test_file], timeout_seconds=timeout_seconds, options=["--ignore-times"])
        client.receive([TEST_FILE], fetched, timeout_seconds=timeout_seconds)
        if not (fetched / TEST_FILE).exists() or (fetched / TEST_FILE).read_text() != content:
            raise UploadError(
                f"{destination} took a file, and does not give the same one back.",
                hint=f"Look for {TEST_FILE} there: is another disk mounted over the folder, or something in between "
                "that keeps old copies?",
            )
