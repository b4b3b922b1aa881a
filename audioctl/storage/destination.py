"""Where the Opus copies go: a folder here, a folder behind ssh, or a module of an rsync daemon."""

import os.path
import posixpath
import re
from dataclasses import dataclass
from enum import StrEnum

from audioctl.errors import ConfigurationError
from audioctl.names import LONGEST_PATH_BYTES

LONGEST_FILE_PATH = 500
"""``audio_files.file_path varchar(500)``, in characters."""

_HINT = "Write /folder, user@host:/folder or rsync://host/module/folder."
_HOST = r"(?:[\w.-]+@)?(?:[\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])"
_SSH = re.compile(rf"(?P<host>{_HOST}):(?P<path>(?!:).*)", re.DOTALL)
_DAEMON = re.compile(rf"rsync://(?P<host>{_HOST}(?::\d{{1,5}})?)/(?P<path>.*)", re.DOTALL)
_SAFE_IN_A_SHELL = re.compile(r"[\w/.,:=@%+-]*", re.ASCII)


class Kind(StrEnum):
    LOCAL = "local"
    SSH = "ssh"
    DAEMON = "daemon"


@dataclass(frozen=True, slots=True)
class Destination:
    """``host`` is ``[user@]host``, for a daemon with its ``:port``, and empty for a local folder.

    ``root`` is the folder that holds ``audio/``: an absolute path, or ``module/folder`` of a daemon.
    """

    kind: Kind
    root: str
    host: str = ""

    def file_path(self, storage_path: str) -> str:
        """What the database says about a file: its path where it lies; for a daemon the whole URL."""
        path = f"{self.root.rstrip('/')}/{storage_path}"
        return f"rsync://{self.host}/{path}" if self.kind is Kind.DAEMON else path

    @property
    def ssh_host(self) -> str:
        """The host as ssh wants it: an IPv6 address without its brackets."""
        return self.host.replace("[", "").replace("]", "")

    @property
    def rsync_root(self) -> str:
        """The root as an argument of rsync, with the slash that means "what is in it"."""
        prefix = {Kind.LOCAL: "", Kind.SSH: f"{self.host}:", Kind.DAEMON: f"rsync://{self.host}/"}[self.kind]
        return f"{prefix}{self.root.rstrip('/')}/"

    @property
    def rsync_source(self) -> tuple[str, str]:
        """Where to read from: an argument of rsync, and what goes before each storage path.

        The daemon of rsync 3.5.0 says "file has vanished" of every file below a folder given as the argument, but not
        below its module. ``/./`` ends the part of a name that does not come along.
        """
        if self.kind is not Kind.DAEMON:
            return self.rsync_root, ""
        module, slash, folder = self.root.partition("/")
        return f"rsync://{self.host}/{module}/", f"{folder}/./" if slash else ""

    @property
    def needs_protection(self) -> bool:
        """Whether an rsync older than 3.2.4 would let the server's shell read something into the root."""
        return self.kind is Kind.SSH and not _SAFE_IN_A_SHELL.fullmatch(self.root)

    def __str__(self) -> str:
        return self.rsync_root.rstrip("/") or "/"


def parse_destination(text: str) -> Destination:
    """``text`` as a destination; a relative local folder is taken from the current one.

    Raises ConfigurationError for anything that is no destination, and for a folder with a path so long that the path of
    a file in it would not fit into the database.
    """
    destination = _parse(text)
    longest = len(destination.file_path("")) + LONGEST_PATH_BYTES
    if longest > LONGEST_FILE_PATH:
        raise ConfigurationError(
            f"The upload destination {text!r} is too long: the path of a file in it could need {longest} characters, "
            f"the database has room for {LONGEST_FILE_PATH}.",
            hint=f"Choose a folder with a path at least {longest - LONGEST_FILE_PATH} characters shorter.",
        )
    return destination


def _parse(text: str) -> Destination:
    if not text.strip():
        raise ConfigurationError("The upload destination is empty.", hint=_HINT)
    if not text.isprintable():
        raise _nonsense(text, "it holds a character that cannot be printed")
    if "://" in text:
        return _parse_daemon(text)
    if ":" in text.partition("/")[0]:
        return _parse_ssh(text)
    return Destination(Kind.LOCAL, os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 - no ".." kept


def _parse_ssh(text: str) -> Destination:
    match = _SSH.fullmatch(text)
    if match is None:
        reason = "a daemon is written as a URL" if "::" in text else "that is no host name"
        raise _nonsense(text, reason)
    _check_host(text, match["host"])
    if not match["path"].startswith("/"):
        # The database keeps the path: one that depends on who logs in would find nothing later.
        raise _nonsense(text, "the folder on the server must be given from its root, beginning with /")
    return Destination(Kind.SSH, "/" + posixpath.normpath(match["path"]).lstrip("/"), match["host"])


def _parse_daemon(text: str) -> Destination:
    match = _DAEMON.fullmatch(text)
    if match is None:
        reason = "the password belongs into RSYNC_PASSWORD" if re.search(r"//[^/]*:[^/]*@", text) else "no such URL"
        raise _nonsense(re.sub(r"//[^/]*@", "//***@", text), reason)
    _check_host(text, match["host"])
    root = posixpath.normpath(match["path"].strip("/"))
    if root == "." or root.startswith("."):
        raise _nonsense(text, "the name of the module is missing")
    return Destination(Kind.DAEMON, root, match["host"])


def _check_host(text: str, host: str) -> None:
    # ssh would take it for an option, and options of ssh run programs.
    if any(part.startswith("-") for part in host.split("@")):
        raise _nonsense(text, "a host or user cannot begin with -")


def _nonsense(text: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{text!r} is no upload destination: {reason}.", hint=_HINT)
