"""Calls of rsync to and from one destination: many files in one call, over connections that are shared.

Every call names its files with ``--files-from``, NUL-terminated, so no name can be taken for an option or a pattern,
and only the root of the destination is ever an argument.
"""

import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from audioctl.clips import OpusFile
from audioctl.environment import RSYNC_PASSWORD, SSH_AGENT, without_secrets
from audioctl.storage.destination import Destination, Kind
from audioctl.storage.failures import PARTIAL, PartialTransferError, explain, reason_for
from audioctl.storage.processes import Finished, Processes, require_program
from audioctl.storage.ssh import SharedConnections, check_ssh, private_folder

_COMMON = ("rsync", "--from0", "--no-implied-dirs")
# Opus does not compress any further, and a file that is not there yet has no parts to compare.
_SEND = ("--copy-links", "--times", "--whole-file", "--chmod=Fa=rw")
"""``Fa=rw``: the umask over there decides about new files, not that of the scratch folder."""

_NEEDED_SECRETS = {Kind.LOCAL: (), Kind.SSH: (SSH_AGENT,), Kind.DAEMON: (RSYNC_PASSWORD,)}

_NO_MKPATH = "--mkpath: unknown option"
_MISSING_ROOT = re.compile(r'change_dir ".*" .*failed: .*\(2\)$', re.MULTILINE)


def check_rsync() -> None:
    """Raises ConfigurationError, with the package to install, when there is no rsync here."""
    require_program("rsync", "rsync")


class RsyncClient:
    """A context manager; its methods may be called from many threads.

    ``secrets`` are those of the environment, in which they may not be any more; rsync gets what ``destination`` needs.
    Raises ConfigurationError when rsync, or the ssh that ``destination`` needs, is missing here.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        ssh_key: Path | None = None,
        ssh_options: Sequence[str] = (),
        secrets: Mapping[str, str] = os.environ,
    ) -> None:
        check_rsync()
        if destination.kind is Kind.SSH:
            check_ssh()
        self.destination = destination
        self._processes = Processes(without_secrets({**os.environ, **secrets}, *_NEEDED_SECRETS[destination.kind]))
        self._private = private_folder()
        self._folder = self._private.path
        self._has_mkpath = True
        self._connections: SharedConnections | None = None
        if destination.kind is Kind.SSH:
            self._connections = SharedConnections(
                destination, key=ssh_key, options=ssh_options, folder=self._folder, processes=self._processes
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Ends the calls that run; they, and all later ones, raise TransferError("stopped")."""
        self._processes.stop()

    def close(self) -> None:
        if self._connections is not None:
            self._connections.close()
        self._private.remove()

    def send(self, files: Sequence[OpusFile], *, timeout_seconds: float, options: Sequence[str] = ()) -> None:
        """Brings ``files`` to their storage paths; returns when rsync has said 0.

        Raises PartialTransferError when some files are at fault, TransferError when the whole call is.
        """
        with self._connection() as shell, self._staged(files) as stage:
            target = self.destination.rsync_root
            paths = [file.storage_path for file in files]

            def call(*more: str) -> Finished:
                return self._call(
                    [*_SEND, *options, *more], paths, f"{stage}/", target, shell=shell, timeout_seconds=timeout_seconds
                )

            finished = self._call_with_root(call, shell, timeout_seconds)
            if finished.returncode not in PARTIAL:
                self._raise_for(finished, timeout_seconds)
                return
            # Which ones? Asked to remove its sources, rsync removes just those that the other side has confirmed. The
            # sources are the links of the stage; what they point to stays.
            finished = call("--remove-source-files")
            left = [file for file in files if os.path.lexists(_staged_path(stage, file))]
            if finished.returncode in PARTIAL and left:
                faulty = set(left)
                raise PartialTransferError(
                    explain(finished, self.destination, timeout_seconds),
                    [(file, reason_for(file, finished)) for file in left],
                    [file for file in files if file not in faulty],
                )
            self._raise_for(finished, timeout_seconds)

    def receive(
        self, storage_paths: Sequence[str], into: Path, *, timeout_seconds: float, options: Sequence[str] = ()
    ) -> bytes:
        """Brings files, or with ``options`` a listing of them, from the destination; returns what rsync printed.

        What is not there is left out. Raises TransferError.
        """
        source, prefix = self.destination.rsync_source
        with self._connection() as shell:
            finished = self._call(
                ["--ignore-missing-args", *options],
                [prefix + path for path in storage_paths],
                source,
                f"{into}/",
                shell=shell,
                timeout_seconds=timeout_seconds,
            )
        if not _root_is_missing(finished):
            self._raise_for(finished, timeout_seconds)
        return finished.stdout

    def _connection(self) -> AbstractContextManager[list[str] | None]:
        return nullcontext() if self._connections is None else self._connections.session()

    @contextmanager
    def _staged(self, files: Sequence[OpusFile]) -> Iterator[Path]:
        """A folder in which each file has its storage path; rsync cannot rename what it sends."""
        with tempfile.TemporaryDirectory(prefix="stage-", dir=self._folder) as name:
            stage = Path(name)
            links = [_staged_path(stage, file) for file in files]
            for folder in {os.path.dirname(link) for link in links}:  # noqa: PTH120 - bytes: see there
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103
            for file, link in zip(files, links, strict=True):
                os.symlink(os.path.abspath(os.fsencode(file.local_path)), link)  # noqa: PTH100, PTH211
            yield stage

    def _call(
        self,
        options: Sequence[str],
        paths: Sequence[str],
        source: str,
        target: str,
        *,
        shell: Sequence[str] | None,
        timeout_seconds: float,
    ) -> Finished:
        with tempfile.NamedTemporaryFile(prefix="names-", dir=self._folder) as names:
            names.write(b"".join(path.encode(errors="surrogateescape") + b"\0" for path in paths))
            names.flush()
            protection = ["--protect-args"] if self.destination.needs_protection else []
            remote_shell = ["--rsh", shlex.join(shell)] if shell is not None else []
            command = [*_COMMON, f"--files-from={names.name}", *protection, *remote_shell, *options]
            return self._processes.run([*command, "--", source, target], timeout_seconds=timeout_seconds)

    def _call_with_root(
        self, call: Callable[..., Finished], shell: Sequence[str] | None, timeout_seconds: float
    ) -> Finished:
        """The call, made so that the root of the destination exists.

        ``--mkpath`` needs rsync 3.2.3 (2020) on both sides. Without it the root is made once, except behind a daemon,
        where rsync makes the last folder of the root and an administrator has to make the others.
        """
        if self._has_mkpath:
            finished = call("--mkpath")
            if _NO_MKPATH not in finished.stderr:
                return finished
            if shell is not None:
                mkdir = f"mkdir -p -- {shlex.quote(self.destination.root)}"
                made = self._processes.run([*shell, self.destination.ssh_host, mkdir], timeout_seconds=timeout_seconds)
                self._raise_for(made, timeout_seconds)
            elif self.destination.kind is Kind.LOCAL:
                Path(self.destination.root).mkdir(parents=True, exist_ok=True)
            self._has_mkpath = False
        return call()

    def _raise_for(self, finished: Finished, timeout_seconds: float) -> None:
        if finished.returncode != 0 or finished.stopped or finished.timed_out:
            raise explain(finished, self.destination, timeout_seconds)


def _staged_path(stage: Path, file: OpusFile) -> bytes:
    # Bytes, because a name must arrive the same whatever the locale of this job is.
    return os.path.join(os.fsencode(stage), file.storage_path.encode())  # noqa: PTH118


def _root_is_missing(finished: Finished) -> bool:
    # 3, 12 or 23, depending on the side that notices first.
    return finished.returncode != 0 and _MISSING_ROOT.search(finished.stderr) is not None
