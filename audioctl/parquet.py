"""Transcripts as Parquet: a file a day, in a folder whose name tells the day, as Hive has it and all readers know it.

docs/columns.md says what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from audioctl.errors import ConfigurationError
from audioctl.exporting import ExportedClip, as_object
from audioctl.whole_files import written_whole

try:
    import pyarrow as pa
    from pyarrow import parquet
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "Parquet files need pyarrow, which is not installed here.", hint="pip install 'audioctl[parquet]'"
    ) from error

FILE_NAME = "transcripts.parquet"

ROW_GROUP_PARTS = 50_000
"""Clips and segments of a row group: some ten thousand clips of everyday length, and a bound to the memory it takes."""

SEGMENT = pa.struct(
    [
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("text", pa.string()),
        ("avg_logprob", pa.float64()),
        ("no_speech_prob", pa.float64()),
        ("compression_ratio", pa.float64()),
        ("temperature", pa.float64()),
    ]
)

# Without the day: that is in the folder's name, and readers refuse, or doubt, what is in both.
SCHEMA = pa.schema(
    [
        ("slot", pa.string()),
        ("ordinal", pa.int32()),
        ("member", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("duration_seconds", pa.float64()),
        ("language", pa.string()),
        ("language_probability", pa.float64()),
        ("text", pa.string()),
        ("segments", pa.list_(pa.field("element", SEGMENT))),
        ("flags", pa.list_(pa.field("element", pa.string()))),
        ("model", pa.string()),
        ("file_path", pa.string()),
    ]
)


def day_file(folder: Path, day: str) -> Path:
    return folder / f"day={day}" / FILE_NAME


def write_day(clips: Iterable[ExportedClip], path: Path) -> int:
    """Writes ``path`` anew, a row a clip; returns how many. One row group is in memory at a time. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with (
        written_whole(path) as unfinished,
        unfinished.open("xb") as file,
        parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer,
    ):
        for group in _row_groups(clips):
            rows = [as_object(exported) for exported in group]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA), row_group_size=len(rows))
            count += len(rows)
    return count


def _row_groups(clips: Iterable[ExportedClip]) -> Iterator[list[ExportedClip]]:
    group: list[ExportedClip] = []
    parts = 0
    for exported in clips:
        group.append(exported)
        parts += 1 + len(exported.clip.segments)
        if parts >= ROW_GROUP_PARTS:
            yield group
            group, parts = [], 0
    if group:
        yield group
