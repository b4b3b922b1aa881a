"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from audioctl.cli import completion

_DAYS = "YYYY-MM-DD, or a range A..B"

DayArgument = Annotated[
    str, typer.Argument(metavar="DAY", help="YYYY-MM-DD.", show_default=False, autocompletion=completion.known_day)
]
DaysArgument = Annotated[
    str, typer.Argument(metavar="DAY", help=f"{_DAYS}.", show_default=False, autocompletion=completion.known_days)
]
DaysToSubmitArgument = Annotated[
    str, typer.Argument(metavar="DAY", help=f"{_DAYS}.", show_default=False, autocompletion=completion.days_to_submit)
]
OptionalDayArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DAY",
        help=f"{_DAYS}; all days if left out.",
        show_default=False,
        autocompletion=completion.known_days,
    ),
]
ArchiveArgument = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The tar file.", show_default=False)]
SlotArgument = Annotated[
    str, typer.Argument(metavar="SLOT", help="HH_MM.", show_default=False, autocompletion=completion.slots)
]
SlotsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slot",
        metavar="HH_MM",
        help="Only this slot; may be given again.",
        show_default=False,
        autocompletion=completion.slots,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
