"""What a program shows on a terminal."""

import contextlib
import os
import re


def read_terminal(descriptor: int) -> str:
    """All that is printed on a pseudo-terminal until its other end is closed, without colours."""
    output = b""
    with contextlib.suppress(OSError):  # EIO is its way to say the end
        while chunk := os.read(descriptor, 65536):
            output += chunk
    os.close(descriptor)
    return re.sub(r"\x1b\[[\d;]*m", "", output.decode())
