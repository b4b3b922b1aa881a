"""``audioctl model``: bringing a recogniser to where the jobs can read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audioctl.cli.output import note, print_line
from audioctl.cli.worker import require_worker


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The recogniser's models.", no_args_is_help=True)
    group.command("fetch")(fetch)
    app.add_typer(group, name="model")


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as large-v3-turbo, or OWNER/MODEL of the Hub.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="A folder of its own, to be given as transcribe.model."),
    ] = None,
) -> None:
    """Bring a model here from the Hugging Face Hub.

    Compute nodes have no internet. Without --to it goes to the Hub's own cache (HF_HOME), and its name then is enough
    on every machine that shares that folder.
    """
    require_worker()
    from audioctl.engines.fetching import fetch_model

    note(f"Fetching {name}; large models are 1 to 3 GB.")
    folder = fetch_model(name, to)
    print_line(str(folder))
    note(f"Use it as transcribe.model = {str(folder) if to else name!r}.")
