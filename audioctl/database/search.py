"""Searching the transcripts in PostgreSQL, by its full-text index."""

from psycopg import Connection
from psycopg.rows import class_row

from audioctl.database.connection import record_errors
from audioctl.database.keys import day_key, storable
from audioctl.hits import EVERYWHERE, HIT_END, HIT_START, Hit, Where


@record_errors()
def search(connection: Connection, words: str, where: Where = EVERYWHERE, *, limit: int = 100) -> list[Hit]:
    """Transcripts that hold ``words``, newest first. Understands "a phrase", or, and -not."""
    first = {f"first_{part}": number for part, number in day_key(where.first_day).items()}
    last = {f"last_{part}": number for part, number in day_key(where.last_day).items()}
    asked = {
        "words": storable(words),
        "slots": list(where.slots) or None,
        "language": where.language,
        "limit": limit,
        "marks": f"StartSel={HIT_START}, StopSel={HIT_END}",
    }
    with connection.cursor(row_factory=class_row(Hit)) as cursor:
        return cursor.execute(_SEARCH, asked | first | last).fetchall()


# The index decides which rows; only those few that are shown are marked up.
_SEARCH = """
select to_char(make_date(year, month, date), 'YYYY-MM-DD') as day, slot, member, filename,
       ts_headline('simple', transcript_text, query, %(marks)s) as snippet
  from (select audio_files.*, transcript_text, query
          from websearch_to_tsquery('simple', %(words)s) as query
               join transcripts on to_tsvector('simple', transcript_text) @@ query
               join audio_files on audio_file_id = audio_files.id
         where (year, month, date) >= (%(first_year)s, %(first_month)s, %(first_date)s)
           and (year, month, date) <= (%(last_year)s, %(last_month)s, %(last_date)s)
           and (%(slots)s::text[] is null or slot = any(%(slots)s::text[]))
           and (%(language)s::text is null or language = %(language)s::text)
         order by year desc, month desc, date desc, slot desc nulls last, ordinal
         limit %(limit)s) as newest
 order by year desc, month desc, date desc, slot desc nulls last, ordinal
"""
