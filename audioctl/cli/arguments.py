"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DayArgument = Annotated[str, typer.Argument(metavar="DAY", help="YYYY-MM-DD.", show_default=False)]
DaysArgument = Annotated[str, typer.Argument(metavar="DAY", help="YYYY-MM-DD, or a range A..B.", show_default=False)]
OptionalDayArgument = Annotated[
    str | None,
    typer.Argument(metavar="[DAY]", help="YYYY-MM-DD, or a range A..B; all days if left out.", show_default=False),
]
ArchiveArgument = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The tar file.", show_default=False)]
SlotArgument = Annotated[str, typer.Argument(metavar="SLOT", help="HH_MM.", show_default=False)]
SlotsOption = Annotated[
    list[str] | None,
    typer.Option("--slot", metavar="HH_MM", help="Only this slot; may be given again.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
