"""What the environment tells the libraries, and which of the programs that audioctl starts are given its secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

DATABASE_CREDENTIALS = "DB_CREDS"
DATABASE_PASSWORD = "PGPASSWORD"
RSYNC_PASSWORD = "RSYNC_PASSWORD"
SSH_AGENT = "SSH_AUTH_SOCK"
"""No secret itself, but who has it may log in where our keys are known."""
SLURM_TOKEN = "SLURM_JWT"

SECRETS = frozenset(
    {
        *(DATABASE_CREDENTIALS, DATABASE_PASSWORD, RSYNC_PASSWORD, SSH_AGENT, SLURM_TOKEN),
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    }
)


def without_secrets(environ: Mapping[str, str], *needed: str) -> dict[str, str]:
    """The variables for a program that is started, which of the secrets gets those ``needed`` only."""
    return {name: value for name, value in environ.items() if name not in SECRETS or name in needed}


@contextmanager
def secrets_taken(environ: MutableMapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The secrets, which ``environ`` does not hold meanwhile.

    For a process whose libraries start others: multiprocessing hands its servers the whole environment. To be entered
    while there is one thread only, because C libraries read the environment without a lock.
    """
    taken = {name: environ.pop(name) for name in SECRETS & environ.keys()}
    try:
        yield taken
    finally:
        environ.update(taken)


def limit_linear_algebra(environ: MutableMapping[str, str]) -> None:
    """Have numpy's OpenBLAS compute in the thread that asks. To be called before numpy is imported.

    Its own threads wait for the next product by spinning, on the cores that the converters and the recogniser need, and
    the products here, of mel filters, are too small to gain: features of a clip take several times as long with them.
    """
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")
