"""What the global options of ``audioctl`` hand on to each command, as ``typer.Context.obj``."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CliContext:
    config_file: Path | None = None
    """The value of ``--config``."""
