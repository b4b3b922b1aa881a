"""``audioctl init``: a commented file of settings, with what this site has already in it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.context import CliContext
from audioctl.cli.output import note
from audioctl.configuration import PROJECT_FILE
from audioctl.errors import ConfigurationError, SchedulerError
from audioctl.settings import KEYS
from audioctl.settings_reference import Found, example_toml

if TYPE_CHECKING:
    from audioctl.site import Cluster

_QUESTIONS = {
    "paths.archives": "Folder with the archives of a day",
    "upload.destination": "Where the Opus copies go (a folder, or user@host:/folder)",
}


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing, take what was found.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file, ask and write nothing.")] = False,
) -> None:
    """Write an audioctl.toml that explains each setting.

    What Slurm tells (partitions, accounts, GPUs, limits) is in it already, with what else there is to choose from. On a
    terminal asks for the little that cannot be found out.
    """
    target = (context.find_object(CliContext) or CliContext()).config_file or Path(PROJECT_FILE)
    if target.exists() and not force and not dry_run:
        raise ConfigurationError(
            f"{target} exists already.", hint="Write it anew with `audioctl init --force`, which loses what it holds."
        )
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not yes and not dry_run
    cluster = _cluster()
    found = _found(cluster, asks=asks)
    text = example_toml(found)
    if dry_run:
        sys.stdout.write(text)
        return
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}.") from error
    if cluster is None:
        note(f"Wrote {target}. Nothing in it needs to be changed to begin with.")
    else:
        note(f"Wrote {target}, for this cluster: {_summary(found)}.")
        note("Read it, then type `audioctl doctor` and `audioctl doctor --on-node`.")


def _cluster() -> Cluster | None:
    """What Slurm tells; None on a machine that has none, or where it does not answer."""
    from audioctl.processes import user_name
    from audioctl.site import look_at_cluster

    if shutil.which("sinfo") is None:
        return None
    try:
        return look_at_cluster(user_name())
    except SchedulerError as error:
        note(f"What this cluster has is not known, so jobs are to run on this machine. {error.message}")
        return None


def _found(cluster: Cluster | None, *, asks: bool) -> dict[str, Found]:
    from audioctl.mounts import read_mounts
    from audioctl.site import describe, settings_for, settings_for_folders

    found = settings_for_folders(os.environ, Path.cwd(), read_mounts(), is_cluster=cluster is not None)
    if asks:
        found |= {dotted: answer for dotted, words in _QUESTIONS.items() if (answer := _ask(dotted, words))}
    if cluster is None:
        return found
    partition = cluster.partitions[0] if cluster.partitions else None
    accounts = cluster.accounts.accounts
    account = accounts[0] if len(accounts) > 1 else None  # the only one is Slurm's choice, too
    if asks and len(cluster.partitions) > 1:
        note("Partitions: " + "; ".join(map(describe, cluster.partitions)))
        name = _choose("Partition of the jobs", [each.name for each in cluster.partitions])
        partition = next(each for each in cluster.partitions if each.name == name)
    if asks and account:
        account = _choose("Account to charge", accounts)
    return settings_for(cluster, partition, account) | found


def _ask(dotted: str, words: str) -> Found | None:
    """What is answered, unless it is the default anyway."""
    default = str(KEYS[dotted].default)
    answer = typer.prompt(words, default=default, err=True)
    return Found(answer) if answer != default else None


def _choose(words: str, names: list[str]) -> str:
    """One of ``names``, the first if nothing is said."""

    def known(answer: str) -> str:
        if answer not in names:
            raise typer.BadParameter(f"choose from {', '.join(names)}")
        return answer

    return str(typer.prompt(f"{words} ({', '.join(names)})", default=names[0], value_proc=known, err=True))


def _summary(found: dict[str, Found]) -> str:
    from audioctl.setting_values import toml_value

    chosen = {dotted: each.value for dotted, each in found.items() if each.value is not None}
    return ", ".join(f"{dotted} = {toml_value(KEYS[dotted], value)}" for dotted, value in chosen.items())
