"""Writing rows again that are not as they were written: ``verify --repair``'s side of the database."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Connection

from audioctl.clips import ClipRecord
from audioctl.database.connection import record_errors
from audioctl.database.keys import day_key
from audioctl.database.rows import Confirmation, confirm_batch, store_batch


def rewrite_rows(
    connection: Connection, day: str, slot: str, clips: Sequence[ClipRecord], files: Sequence[Confirmation]
) -> None:
    """Make the rows of these clips what the journal says, all or none. Raises as ``store_batch`` does."""
    with record_errors(), connection.transaction():
        store_batch(connection, day, slot, clips)
        confirm_batch(connection, day, slot, files)


@record_errors()
def remove_doubles(connection: Connection, day: str, slot: str, keys: Sequence[str]) -> set[str]:
    """Of the clips with these keys that have several rows, delete all but the one that holds most, or else the oldest.

    Only a database without its unique index has such rows. Stays, what holds anything in columns that are not this
    program's and that the one that is kept does not hold, and everything where another table refers to audio_files.
    Returns the keys of those that still have several rows. Raises RecordRefusedError without the permission.
    """
    of_clips = day_key(day) | {"slot": slot, "members": keys}
    with connection.transaction():
        connection.execute(_DELETE_DOUBLES, of_clips)
        return {member for (member,) in connection.execute(_STILL_DOUBLED, of_clips)}


_SAME_CLIPS = """
year = %(year)s and month = %(month)s and date = %(date)s and slot = %(slot)s and member = any(%(members)s)
"""

_DELETE_DOUBLES = f"""
with foreign_columns as (
  select id, member, created_at,
         jsonb_strip_nulls(to_jsonb(audio_files) - array['id', 'filename', 'created_at', 'updated_at', 'file_path',
                                                         'file_size_bytes', 'ordinal', 'sha256']) as held
    from audio_files where {_SAME_CLIPS}
), ranked as (
  select id, held, first_value(id) over best as kept, first_value(held) over best as kept_held
    from foreign_columns
  window best as (partition by member
                  order by (select count(*) from jsonb_object_keys(held)) desc, created_at, id)
)
delete from audio_files using ranked
 where audio_files.id = ranked.id and ranked.id <> kept and held <@ kept_held
   and not exists (select from pg_constraint where contype = 'f' and confrelid = to_regclass('audio_files')
                      and conrelid <> to_regclass('transcripts'))
"""

_STILL_DOUBLED = f"select member from audio_files where {_SAME_CLIPS} group by member having count(*) > 1"
