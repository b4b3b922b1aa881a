"""``audioctl search``: full-text search over the transcripts, in PostgreSQL or in the journals."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli import completion
from audioctl.cli.arguments import JsonOption, SlotsOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import Column, counted, note, one_line, print_json, print_table
from audioctl.days import parse_days, parse_slot
from audioctl.errors import JournalError, UsageError
from audioctl.hits import HIT_END, HIT_START, Hit, Where
from audioctl.permissions import check_readable
from audioctl.searching import journals_newest_first, search_journals
from audioctl.settings import Settings
from audioctl.states import ExitCode
from audioctl.websearch import parse_query

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1

_MARKS = f"[{HIT_START}{HIT_END}]"


def register(app: typer.Typer) -> None:
    app.command("search")(search)


@settings_flags("database.enabled", "paths.state_dir")
def search(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help='Words, "a phrase", or, -not.')],
    settings: Settings,
    days: Annotated[
        str | None,
        typer.Option(
            "--day",
            metavar="DAY",
            help="Only this day, or a range A..B.",
            show_default=False,
            autocompletion=completion.known_days,
        ),
    ] = None,
    slot: SlotsOption = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="CODE", help="Only clips in this language, as en.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many hits.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Search the transcripts, newest first.

    In PostgreSQL where database.enabled says so, else in the journals.

    All words have to be there, in any case; "words in quotes" next to each other; or means either; -word: it is not
    there. Quote the whole for the shell, and put -- before a search that begins with a minus: audioctl search --
    '"heavy rain" -snow'.

    Accents count. To PostgreSQL an address (web, e-mail), a path and a number with its point and sign are one word; in
    the journals each part is a word.
    """
    text = " ".join(words)
    if not parse_query(text).alternatives:
        raise UsageError(f"There is no word to search for in {text!r}.", hint="Give a word: audioctl search rain.")
    asked = [] if days is None else parse_days(days)
    slots = [parse_slot(name) for name in slot or []]
    where = Where(asked[0], asked[-1], slots, language) if asked else Where(slots=slots, language=language)
    unreadable: list[JournalError] = []
    if settings.database.enabled:
        hits = _in_database(settings, text, where, limit)
    else:
        hits = _in_journals(Path(settings.paths.state_dir), text, where, limit, unreadable)
    if as_json:
        plain = [{**hit._asdict(), "snippet": re.sub(_MARKS, "", hit.snippet)} for hit in hits]
        print_json({"schema": JSON_SCHEMA, "hits": plain})
    else:
        _print_hits(hits)
        note(_how_many(len(hits), limit, in_database=settings.database.enabled))
    for error in unreadable:
        note(f"Left out: {error.message}", style="yellow")
    if unreadable:
        raise typer.Exit(ExitCode.LOOK)


def _how_many(hits: int, limit: int, *, in_database: bool) -> str:
    if hits == 0 and in_database:
        return "0 hits in PostgreSQL; --no-database looks through the journals."
    return f"{counted(hits, 'hit')}." if hits < limit else f"The newest {counted(limit, 'hit')}; --limit shows more."


def _in_database(settings: Settings, text: str, where: Where, limit: int) -> list[Hit]:
    from audioctl.database.connection import connect
    from audioctl.database.search import search as search_database

    with connect(service=settings.database.service, application_name="audioctl/search") as connection:
        return search_database(connection, text, where, limit=limit)


def _in_journals(state_dir: Path, text: str, where: Where, limit: int, unreadable: list[JournalError]) -> list[Hit]:
    """Raises UsageError where there is no journal to look into, LedgerError where you may not look."""
    check_readable(state_dir)
    if next(journals_newest_first(state_dir, where), None) is None:
        raise UsageError(
            f"There is nothing to search: {state_dir.absolute()} has no journal of these days and slots.",
            hint="`audioctl status` lists the days that were worked on; --state-dir names another folder.",
        )
    hits = search_journals(state_dir, parse_query(text), where, unreadable=unreadable.append)
    return list(islice(hits, limit))


def _print_hits(hits: list[Hit]) -> None:
    columns = [Column("day"), Column("slot"), Column("member", fold=True), Column("text", fold=True)]
    table: list[list[str | Text]] = [
        [hit.day, hit.slot or "-", one_line(hit.member or hit.filename), _in_colour(hit.snippet)] for hit in hits
    ]
    if table:
        print_table(columns, table)


def _in_colour(snippet: str) -> Text:
    from rich.text import Text

    text = Text()
    for number, part in enumerate(re.split(_MARKS, snippet)):
        text.append(one_line(part), "bold yellow" if number % 2 else "")
    return text
