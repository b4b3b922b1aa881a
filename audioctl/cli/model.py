"""``audioctl model``: bringing a recogniser to where the jobs can read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audioctl.cli.flags import settings_flags
from audioctl.cli.output import note, print_line
from audioctl.cli.worker import require_worker
from audioctl.settings import Settings


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The recogniser's models.", no_args_is_help=True)
    group.command("fetch")(fetch)
    app.add_typer(group, name="model")


@settings_flags("paths.models")
def fetch(
    context: typer.Context,  # noqa: ARG001 - the settings are read from it
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as large-v3-turbo, or OWNER/MODEL of the Hub.")],
    settings: Settings,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="A folder of its own, to be given as transcribe.model."),
    ] = None,
) -> None:
    """Bring a model here from the Hugging Face Hub.

    Compute nodes have no internet. Without --to it goes below paths.models, or, where that is not set, to the Hub's
    own cache (HF_HOME); its name then is enough on every machine that shares that folder and the settings.
    """
    require_worker()
    from audioctl.engines.fetching import fetch_model
    from audioctl.models import folder_name

    shared = Path(settings.paths.models, folder_name(name)) if settings.paths.models else None
    note(f"Fetching {name}; large models are 1 to 3 GB.")
    folder = fetch_model(name, to or shared)
    print_line(str(folder))
    note(f"Use it as transcribe.model = {str(folder) if to else name!r}.")
