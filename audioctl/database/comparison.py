"""A database compared with the tables that are needed."""

from collections.abc import Iterator

from psycopg import Connection
from psycopg.rows import TupleRow

from audioctl.database.connection import record_errors

# None where the group's databases differ and nothing here depends on it.
_COLUMNS: dict[str, dict[str, str | None]] = {
    "audio_files": {
        "id": "uuid",
        "filename": "character varying(255)",
        "file_path": "character varying(500)",
        "file_size_bytes": "bigint",
        "month": "integer",
        "date": "integer",
        "year": "integer",
        "location": None,
        "classification": None,
        "classification_probability": None,
        "created_at": None,
        "updated_at": "timestamp without time zone",
        "slot": "text",
        "member": "text",
        "ordinal": "integer",
        "sha256": "text",
    },
    "transcripts": {
        "id": "uuid",
        "audio_file_id": "uuid",
        "transcript_text": "text",
        "word_count": "integer",
        "duration_seconds": "numeric(10,2)",
        "created_at": None,
        "language": "text",
        "language_probability": "double precision",
        "segments": "jsonb",
        "flags": "text[]",
        "model": "text",
    },
    "processing_queue": {
        "id": "uuid",
        "year": "integer",
        "month": "integer",
        "date": "integer",
        "location": None,
        "status": "character varying(50)",
        "transfer_start": None,
        "transfer_end": None,
        "transfer_task_id": None,
        "processing_start": "timestamp without time zone",
        "processing_end": "timestamp without time zone",
        "slurm_job_id": "integer",
        "error_message": "text",
        "created_at": None,
        "updated_at": "timestamp without time zone",
    },
}

_UNIQUE = (
    ("audio_files", ["filename"]),
    ("audio_files", ["date", "member", "month", "slot", "year"]),
    ("transcripts", ["audio_file_id"]),
    ("processing_queue", ["date", "month", "year"]),
)

_FULL_TEXT = "gin (to_tsvector('simple'::regconfig, transcript_text))"


@record_errors()
def compare(connection: Connection) -> list[str]:
    """Every difference from the schema that is needed, one sentence each; empty when there is none."""
    return [
        difference
        for table, columns in _COLUMNS.items()
        for difference in _table_differences(connection, table, columns)
    ]


def _table_differences(connection: Connection, table: str, columns: dict[str, str | None]) -> Iterator[str]:
    found: dict[str, str] = dict(
        _rows(
            connection,
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            table,
        )
    )
    if not found:
        yield f"The table {table} is missing."
        return
    for column, wanted in columns.items():
        if column not in found:
            yield f"The column {table}.{column} is missing."
        elif wanted not in (None, found[column]):
            yield f"The column {table}.{column} is {found[column]}, not {wanted}."
    unique = [columns for (columns,) in _rows(connection, _UNIQUE_INDEXES, table)]
    for indexed_table, key in _UNIQUE:
        if indexed_table == table and key not in unique:
            yield f"The table {table} has no unique index on ({', '.join(key)})."
    if table == "transcripts" and not _rows(connection, _FULL_TEXT_INDEX, f"%{_FULL_TEXT}"):
        yield "The table transcripts has no full-text index."
    for (privilege,) in _rows(connection, _MISSING_PRIVILEGES, table):
        yield f"This database user may not {privilege} on {table}."


_UNIQUE_INDEXES = """
select array_agg(attname::text order by attname)
  from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey)
 where indrelid = to_regclass(%s) and indisunique and indisvalid and indpred is null and indexprs is null
 group by indexrelid
"""

_FULL_TEXT_INDEX = """
select from pg_index
 where indrelid = to_regclass('transcripts') and indisvalid and indpred is null
   and pg_get_indexdef(indexrelid) like %s
"""

_MISSING_PRIVILEGES = """
select privilege from unnest(array['select', 'insert', 'update']) as privilege
 where not has_table_privilege(to_regclass(%s), privilege)
"""


def _rows(connection: Connection, query: str, *parameters: object) -> list[TupleRow]:
    return connection.execute(query, parameters).fetchall()
