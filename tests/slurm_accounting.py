"""The accounting of a Slurm cluster on one machine: slurmdbd, and the MariaDB behind it."""

import getpass
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from slurm_configuration import setting_lines, write_lines
from slurm_daemons import HOST, SEARCH_PATH, Daemon

_USER = getpass.getuser()


class MariaDB(Daemon):
    """Keeps nothing safe from a power cut, which makes it fast."""

    def __init__(self, folder: Path, log: Path, *, port: int) -> None:
        self.port = port
        self._folder = folder
        self._init_file = folder / "init.sql"
        super().__init__(
            log, {}, "mariadbd", "--no-defaults", f"--user={_USER}", f"--datadir={folder}/data",
            f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--port={port}", f"--bind-address={HOST}",
            f"--init-file={self._init_file}", "--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF",
            # The first three as slurmdbd asks for them.
            "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900", "--innodb-log-file-size=16M",
            "--innodb-doublewrite=0", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip

    def start(self) -> None:
        if not self._folder.exists():
            self._make_database()
        super().start()
        self.wait_until_listening(self.port)

    def _make_database(self) -> None:
        self._folder.mkdir()
        write_lines(
            self._init_file,
            "create database if not exists slurm;",
            f"create user if not exists slurm@'{HOST}' identified by 'slurm';",
            f"grant all on slurm.* to slurm@'{HOST}';",
        )
        with self.log.open("ab") as log:
            subprocess.run(
                ["mariadb-install-db", "--no-defaults", f"--user={_USER}", f"--datadir={self._folder}/data",
                 "--skip-test-db", "--auth-root-authentication-method=normal", "--innodb-log-file-size=16M"],
                env={"PATH": SEARCH_PATH}, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip


class Slurmdbd(Daemon):
    def __init__(
        self, configuration: Path, log: Path, environment: Mapping[str, str], *,
        port: int, database_port: int, munge_socket: Path,
    ) -> None:  # fmt: skip
        """``configuration`` has to be beside slurm.conf, which ``environment`` names."""
        super().__init__(log, environment, "slurmdbd", "-D")
        self._port = port
        settings = {
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={munge_socket}",
            "DbdHost": "localhost",
            "DbdAddr": HOST,
            "DbdPort": f"{port}",
            "SlurmUser": _USER,
            "PidFile": f"{configuration}.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": HOST,
            "StoragePort": f"{database_port}",
            "StorageUser": "slurm",
            "StoragePass": "slurm",
            "StorageLoc": "slurm",
            "CommitDelay": "0",
        }
        configuration.touch(mode=0o600)  # slurmdbd takes its password from no file that others can read
        write_lines(configuration, *setting_lines(settings))

    def start(self) -> None:
        super().start()
        self.wait_until_listening(self._port)


class Accounting(NamedTuple):
    database: MariaDB
    slurmdbd: Slurmdbd
