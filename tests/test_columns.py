"""docs/columns.md names every column that there is, with its type, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from psycopg import Connection

from audioctl import parquet
from audioctl.clips import ClipRecord, Segment
from audioctl.exporting import ExportedClip, Format, as_object, render
from audioctl.states import ClipState, Flag

PAGE = (Path(__file__).parent.parent / "docs" / "columns.md").read_text()
TABLES = ("audio_files", "transcripts", "processing_queue", "audioctl_migrations")


def documented(title: str) -> list[tuple[str, str]]:
    """Name and type of each row of the section with this title."""
    _, found, section = PAGE.partition(f"# {title}\n")
    assert found, title
    rows = [line.split("|") for line in section.partition("\n#")[0].splitlines() if line.startswith("| `")]
    return [(cells[1].strip(" `"), cells[2].strip().replace("`", "")) for cells in rows]


def names(title: str) -> list[str]:
    return [name for name, _ in documented(title)]


def test_every_column_of_the_export_is_documented() -> None:
    segment = Segment(0.0, 1.0, "a", -0.1, 0.0, 1.0)
    clip = ClipRecord(0, "a.mp3", ClipState.STORED, segments=[segment])
    exported = as_object(ExportedClip("2025-01-25", "12_30", clip, None))
    assert names("Export: jsonl, json and parquet") == list(exported)
    assert names("A segment") == list(Segment.__struct_fields__)


def test_every_column_of_parquet_is_documented_with_its_type() -> None:
    columns = [(field.name, str(field.type)) for field in parquet.SCHEMA if field.name != "segments"]
    listed = documented("Export: jsonl, json and parquet")
    assert listed[0] == ("day", "the folder day=…")
    assert [column for column in listed[1:] if column[0] != "segments"] == columns
    assert ("segments", "list<element: struct>") in listed
    assert documented("A segment") == [(field.name, str(field.type)) for field in parquet.SEGMENT]


def test_the_columns_of_tsv_are_documented() -> None:
    [header] = render([], Format.TSV)
    [sentence] = re.findall(r"^`tsv` has .*$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", sentence)[1:] == header.split()


def test_every_flag_is_documented() -> None:
    assert [flag for flag in Flag if f"`{flag}`" not in PAGE] == []


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_the_database_is_documented_with_its_type(upgraded: Connection, table: str) -> None:
    columns = upgraded.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [table],
    ).fetchall()
    assert documented(table) == columns


def test_every_table_of_the_database_is_documented(upgraded: Connection) -> None:
    tables = upgraded.execute("select tablename from pg_tables where schemaname = current_schema()").fetchall()
    assert {table for (table,) in tables} == set(TABLES)
