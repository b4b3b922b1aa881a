"""What rsync and ssh say when they fail, in words, and whether trying again can help."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from audioctl.clips import OpusFile
from audioctl.errors import UploadError
from audioctl.storage.destination import Destination
from audioctl.storage.processes import Finished

PARTIAL = frozenset({23, 24})
"""Some files arrived, some did not."""

RETRYABLE = frozenset({10, 11, 12, 19, 20, 30, 35, 255})
"""Connections, streams and time limits; 255 is what ssh itself ends with. 19 and 20 are signals that were not ours:
scancel sends its signal to every process of a job, and the job has time left to drain."""

# Section EXIT VALUES of rsync(1).
MEANINGS = {
    1: "rsync was called in a way that it does not understand",
    2: "the two rsync programs speak no common protocol",
    3: "rsync could not open the source or the destination folder",
    4: "the other rsync cannot do what was asked of it",
    5: "the rsync daemon refused to begin",
    6: "the rsync daemon could not write its log",
    10: "the connection broke",
    11: "a file could not be read or written",
    12: "the stream between the two rsync programs broke off",
    13: "rsync could not report what it did",
    14: "rsync could not talk to its own processes",
    19: "rsync was ended",
    20: "rsync was ended by a signal",
    21: "rsync lost one of its processes",
    22: "rsync had too little memory",
    23: "some files could not be transferred",
    24: "some files vanished before they could be transferred",
    25: "rsync was told to delete too much",
    30: "no data moved for too long",
    35: "the rsync daemon did not answer in time",
    124: "the command on the server failed",
    125: "the command on the server was ended",
    126: "the command on the server could not be run",
    127: "the command on the server was not found",
    255: "the ssh connection failed",
}


class Explanation(NamedTuple):
    pattern: re.Pattern[str]
    sentence: str
    hint: str
    retryable: bool


def _explanation(pattern: str, sentence: str, hint: str, *, retryable: bool) -> Explanation:
    return Explanation(re.compile(pattern, re.MULTILINE), sentence, hint, retryable)


# The first that matches wins. rsync gives the number of a system error behind its words: the number is the same in
# every language that a server may speak.
EXPLANATIONS = (
    _explanation(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "The host key of {host} has changed: this may be another machine",
        "Ask its administrator. If the new key is right: ssh-keygen -R {name}, then log in once with ssh {host}.",
        retryable=False,
    ),
    _explanation(
        r"Host key verification failed|host key is known for",
        "The host key of {host} is not known here",
        "Log in once by hand and compare the fingerprint, or set upload.accept_new_host_keys.",
        retryable=False,
    ),
    _explanation(
        r"Permission denied \([a-z,-]+\)|Too many authentication failures",
        "{host} does not accept our ssh key",
        "Set upload.ssh_key to a key that {host} knows; ssh-copy-id makes one known.",
        retryable=False,
    ),
    _explanation(
        r"Could not resolve hostname|getaddrinfo:",
        "The name {name} cannot be resolved",
        "Check the spelling of upload.destination.",
        retryable=True,
    ),
    _explanation(
        r"Connection refused",
        "{host} refuses the connection",
        'Check that the server runs, and its port: upload.ssh_options = ["Port=2222"].',
        retryable=True,
    ),
    _explanation(
        r"timed out|No route to host|[Uu]nreachable",
        "{host} does not answer",
        "Check the network between this machine and the server.",
        retryable=True,
    ),
    _explanation(
        r"rsync: (command )?not found|command not found: rsync|\(code 127\)",
        "There is no rsync on {host}",
        "Have the package rsync installed there.",
        retryable=False,
    ),
    _explanation(
        r"auth failed on module",
        "The rsync daemon on {host} does not accept user and password",
        "Put the password into the environment as RSYNC_PASSWORD.",
        retryable=False,
    ),
    _explanation(
        r"Unknown module",
        "The rsync daemon on {host} has no such module",
        "List its modules with rsync rsync://{host}/.",
        retryable=False,
    ),
    _explanation(
        r"module is read only|\(30\)$",
        "The destination is read-only",
        "Have it made writable, or set upload.destination to another folder.",
        retryable=False,
    ),
    _explanation(
        r"\(28\)$|\(122\)$",
        "The destination is full",
        "Make room there; what is owed is sent again.",
        retryable=True,
    ),
    _explanation(
        r"\(1\)$|\(13\)$",
        "There is no permission to write to the destination",
        "Give the user that logs in there the right to write to the folder.",
        retryable=False,
    ),
)

_ESCAPE = re.compile(rb"\\#([0-7]{3})")
_DETAIL_LINES = 3
_NOISE = ("rsync error:", "default_perms_for_dir:", "rsync: connection unexpectedly closed")


class TransferError(UploadError):
    """A call of rsync that did not end with 0; ``retryable`` when the same call may succeed later."""

    def __init__(self, message: str, *, retryable: bool, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class PartialTransferError(TransferError):
    """``left_behind`` did not arrive, each with a reason; rsync took the ``others`` one by one, but did not say 0."""

    def __init__(self, failure: TransferError, left_behind: list[tuple[OpusFile, str]], others: list[OpusFile]) -> None:
        super().__init__(failure.message, retryable=False, hint=failure.hint)
        self.left_behind = left_behind
        self.others = others


def explain(finished: Finished, destination: Destination, timeout_seconds: float) -> TransferError:
    """The failed call in words: a sentence, the last lines of what the programs said, and what to do."""
    if finished.stopped:
        return TransferError("stopped", retryable=False)
    if finished.timed_out:
        return TransferError(
            f"The transfer to {destination} was ended after {timeout_seconds:g} s without having finished.",
            retryable=True,
            hint="Raise upload.upload_timeout if the connection is slow.",
        )
    lines = complaints(finished.stderr)
    details = f" ({'; '.join(lines[-_DETAIL_LINES:])})" if lines else ""
    names = {"host": destination.ssh_host, "name": destination.ssh_host.rpartition("@")[2]}
    for explanation in EXPLANATIONS:
        if explanation.pattern.search(finished.stderr):
            return TransferError(
                f"{explanation.sentence.format(**names)}{details}.",
                retryable=explanation.retryable,
                hint=explanation.hint.format(**names),
            )
    meaning = MEANINGS.get(finished.returncode, "rsync failed for a reason of its own")
    return TransferError(
        f"The transfer with {destination} failed: {meaning}, exit code {finished.returncode}{details}.",
        retryable=finished.returncode in RETRYABLE or finished.returncode < 0,  # below 0: killed by a signal
        hint="`audioctl doctor` tries the destination with a small file.",
    )


def reason_for(file: OpusFile, finished: Finished) -> str:
    """Why a partial transfer left this file behind: what rsync said about it, or at least last."""
    lines = complaints(finished.stderr)
    about_it = [line for line in lines if file.storage_path in line]
    return next(iter(about_it or lines[-1:]), MEANINGS[23])


def complaints(stderr: str) -> Sequence[str]:
    """The lines that say something, with names as they are."""
    lines = (unescape(line.encode()).decode(errors="replace").strip() for line in stderr.splitlines())
    return [line for line in lines if line.strip("@ ") and not line.startswith(_NOISE)]


def unescape(text: bytes) -> bytes:
    r"""What rsync prints as ``\#ooo`` (octal) as the byte it stands for.

    A name that holds such an escape itself is printed as ``\#134#ooo``, so one pass gives every name back.
    """
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), text)
