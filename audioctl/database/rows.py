"""The rows of each clip: one transaction a batch, the same result however often it is sent.

A batch travels as one JSON document, which PostgreSQL unfolds into rows: bulk statements without a staging table.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import backoff
import msgspec
import psycopg
from psycopg import Connection
from psycopg.rows import class_row

from audioctl.clips import ClipRecord, Segment
from audioctl.database.connection import RecordRefusedError, record_errors
from audioctl.database.keys import day_key, filename_candidates, member_key, storable
from audioctl.failpoints import failpoint
from audioctl.states import ClipState, Flag


class Confirmation(NamedTuple):
    """A file that rsync said has arrived: ``file_path`` as other tools are to find it."""

    member: str
    file_path: str
    size_bytes: int


class DayRow(NamedTuple):
    """``member`` as ``member_key`` gives it; ``transcript_text`` is ``None`` where the transcript's row is missing.

    ``segments`` is whatever is in the column, as JSON has it.
    """

    slot: str
    member: str
    file_path: str | None
    file_size_bytes: int | None
    transcript_text: str | None
    id: UUID
    ordinal: int | None
    sha256: str | None
    word_count: int | None
    duration_seconds: Decimal | None
    language: str | None
    language_probability: float | None
    segments: Any
    flags: list[str] | None
    model: str | None


class ClipRow(msgspec.Struct):
    """A stored clip as ``store_batch`` writes it: ``member`` as ``member_key`` gives it, no U+0000 anywhere."""

    ordinal: int
    member: str
    sha256: str | None
    filenames: list[str]
    transcript_text: str
    word_count: int
    duration_seconds: float | None
    language: str | None
    language_probability: float | None
    segments: list[Segment]
    flags: list[Flag]
    model: str | None


# Two processes that meet on the same rows may wait for each other in a circle; PostgreSQL ends one of them.
_retry_when_entangled = backoff.on_exception(
    backoff.expo,
    (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure),
    max_tries=8,
    factor=0.05,
    jitter=backoff.full_jitter,
    logger=None,
)


@record_errors()
@_retry_when_entangled
def store_batch(connection: Connection, day: str, slot: str, clips: Sequence[ClipRecord]) -> None:
    """Writes ``audio_files`` and ``transcripts`` of the stored clips among ``clips``, all or none.

    A clip that has its rows already keeps ``id``, ``filename``, ``file_path`` and ``file_size_bytes``.
    """
    rows = [clip_row(day, slot, clip) for clip in clips if clip.state is ClipState.STORED]
    if not rows:
        return
    batch = day_key(day) | {"slot": slot, "clips": _json(rows)}
    with connection.transaction():
        present = connection.execute(_UPDATE_AUDIO_FILES, batch).rowcount
        for choice in range(1, 4):
            if present >= len(rows):
                break
            present += connection.execute(_INSERT_AUDIO_FILES, batch | {"choice": choice}).rowcount
        if connection.execute(_UPSERT_TRANSCRIPTS, batch).rowcount != len(rows):
            raise RecordRefusedError(
                f"Some clips of {day} {slot} find every filename they could have taken by other rows.",
                hint="Look for rows of audio_files whose filename begins with this day and slot and rename them.",
            )
        failpoint("record.rows")


@record_errors()
@_retry_when_entangled
def confirm_batch(connection: Connection, day: str, slot: str, files: Sequence[Confirmation]) -> None:
    """Writes where each file is and how large; only after rsync has said 0.

    Raises RecordRefusedError when clips have no row, after the others were confirmed.
    """
    if not files:
        return
    keyed = [{**file._asdict(), "member": member_key(file.member)} for file in files]
    failpoint("confirm.rows")
    confirmed = connection.execute(_CONFIRM_AUDIO_FILES, day_key(day) | {"slot": slot, "files": _json(keyed)}).rowcount
    if confirmed < len(files):
        raise RecordRefusedError(
            f"{len(files) - confirmed} of {len(files)} uploaded clips of {day} {slot} have no row in audio_files.",
            hint=f"`audioctl verify {day}` names them.",
        )


def read_day(connection: Connection, day: str) -> Iterator[DayRow]:
    """The day's clips by slot and member, a few thousand at a time; rows older than this program are left out."""
    with (
        record_errors(),
        connection.transaction(),
        connection.cursor("read_day", row_factory=class_row(DayRow)) as cursor,
    ):
        cursor.itersize = 5000
        yield from cursor.execute(_READ_DAY, day_key(day))


def clip_row(day: str, slot: str, clip: ClipRecord) -> ClipRow:
    text = storable(clip.text or "")
    return ClipRow(
        ordinal=clip.ordinal,
        member=member_key(clip.member),
        sha256=clip.sha256,
        filenames=filename_candidates(day, slot, clip.member),
        transcript_text=text,
        word_count=len(text.split()),
        duration_seconds=clip.duration_seconds,
        language=clip.language,
        language_probability=clip.language_probability,
        segments=[msgspec.structs.replace(segment, text=storable(segment.text)) for segment in clip.segments],
        flags=clip.flags,
        model=clip.model,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


_CLIPS = """
jsonb_to_recordset(%(clips)s::jsonb) as clip (
  ordinal integer, member text, sha256 text, filenames text[], transcript_text text, word_count integer,
  duration_seconds numeric, language text, language_probability double precision, segments jsonb, flags text[],
  model text)
"""

_SAME_CLIP = """
audio_files.year = %(year)s and audio_files.month = %(month)s and audio_files.date = %(date)s
  and audio_files.slot = %(slot)s and audio_files.member = clip.member
"""

_UPDATE_AUDIO_FILES = f"""
update audio_files set ordinal = clip.ordinal, sha256 = clip.sha256, updated_at = current_timestamp
  from {_CLIPS} where {_SAME_CLIP}
"""

# Sent once for each choice of filename. A name that anybody has, or is just taking, is passed over for the next
# choice; a row of the same clip that another process is just writing is passed over for good. The order keeps two
# processes from waiting for each other, and decides between two clips of a batch that want the same name.
_INSERT_AUDIO_FILES = f"""
insert into audio_files (filename, year, month, date, slot, member, ordinal, sha256)
select filenames[%(choice)s], %(year)s, %(month)s, %(date)s, %(slot)s, member, ordinal, sha256
  from {_CLIPS}
 where filenames[%(choice)s] is not null and not exists (select from audio_files where {_SAME_CLIP})
 order by filenames[%(choice)s], ordinal
    on conflict do nothing
"""

_UPSERT_TRANSCRIPTS = f"""
insert into transcripts (audio_file_id, transcript_text, word_count, duration_seconds, language,
                         language_probability, segments, flags, model)
select audio_files.id, transcript_text, word_count, duration_seconds, language, language_probability, segments,
       flags, model
  from {_CLIPS} join audio_files on {_SAME_CLIP}
 order by audio_files.id
    on conflict (audio_file_id) do update set
       transcript_text = excluded.transcript_text, word_count = excluded.word_count,
       duration_seconds = excluded.duration_seconds, language = excluded.language,
       language_probability = excluded.language_probability, segments = excluded.segments,
       flags = excluded.flags, model = excluded.model
"""

_CONFIRM_AUDIO_FILES = f"""
update audio_files
   set file_path = clip.file_path, file_size_bytes = clip.size_bytes, updated_at = current_timestamp
  from jsonb_to_recordset(%(files)s::jsonb) as clip (member text, file_path text, size_bytes bigint)
 where {_SAME_CLIP}
"""

_READ_DAY = """
select slot, member, file_path, file_size_bytes, transcript_text, audio_files.id, ordinal, sha256, word_count,
       duration_seconds, language, language_probability, segments, flags, model
  from audio_files left join transcripts on audio_file_id = audio_files.id
 where year = %(year)s and month = %(month)s and date = %(date)s and slot is not null and member is not null
 order by slot collate "C", member collate "C"
"""
