"""``audioctl search``: full-text search over the transcripts in PostgreSQL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import JsonOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import Column, note, one_line, print_json, print_table
from audioctl.errors import UsageError
from audioctl.settings import Settings

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1

_MARKS = "[\x02\x03]"
"""Stand before and behind each hit in a snippet (HIT_START and HIT_END of audioctl.database.rows)."""


def register(app: typer.Typer) -> None:
    app.command("search")(search)


@settings_flags("database.enabled")
def search(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help='Words, "a phrase", or, -not.')],
    settings: Settings,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many hits.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Search the transcripts in PostgreSQL, newest first."""

    from audioctl.database import rows
    from audioctl.database.connection import connect

    if not settings.database.enabled:
        raise UsageError(
            "Searching needs the transcripts in PostgreSQL, and no database is configured.",
            hint="Set database.enabled, or search the files: `audioctl export DAY --format txt | grep WORD`.",
        )
    with connect(service=settings.database.service, application_name="audioctl/search") as connection:
        hits = rows.search(connection, " ".join(words), limit=limit)
    if as_json:
        plain = [{**hit._asdict(), "snippet": re.sub(_MARKS, "", hit.snippet)} for hit in hits]
        print_json({"schema": JSON_SCHEMA, "hits": plain})
        return
    columns = [Column("day"), Column("slot"), Column("member", fold=True), Column("text", fold=True)]
    table: list[list[str | Text]] = [
        [hit.day, hit.slot or "-", one_line(hit.member or hit.filename), _in_colour(hit.snippet)] for hit in hits
    ]
    if table:
        print_table(columns, table)
    note(f"{len(hits):,} hits." if len(hits) < limit else f"The newest {limit:,} hits; --limit shows more.")


def _in_colour(snippet: str) -> Text:
    from rich.text import Text

    text = Text()
    for number, part in enumerate(re.split(_MARKS, snippet)):
        text.append(one_line(part), "bold yellow" if number % 2 else "")
    return text
