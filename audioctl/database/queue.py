"""The day's row of ``processing_queue``, which a group's monitoring page reads."""

from enum import StrEnum
from uuid import uuid4

from psycopg import Connection

from audioctl.database.connection import record_errors
from audioctl.database.keys import day_key, storable


class QueueStatus(StrEnum):
    """``processing_queue.status`` as the monitoring page reads it."""

    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "processing_failed"


@record_errors()
def update_queue(
    connection: Connection,
    day: str,
    status: QueueStatus,
    *,
    slurm_job_id: int | None = None,
    error_message: str | None = None,
) -> None:
    """Sets the day's row of ``processing_queue``, which stands for all archives of the day together.

    PROCESSING keeps the start of a day that is being processed already, so each of several jobs may say it. The
    other states are for whoever knows that no archive of the day is at work any more: this row cannot tell. Without
    a ``slurm_job_id`` the one in the row stays.
    """
    connection.execute(
        _UPDATE_QUEUE,
        day_key(day)
        | {
            "id": uuid4(),  # the old table has no default for it
            "status": status.value,
            "ended": status is not QueueStatus.PROCESSING,
            "slurm_job_id": slurm_job_id,
            "error_message": error_message and storable(error_message),
        },
    )


_UPDATE_QUEUE = """
insert into processing_queue as queue
       (id, year, month, date, status, processing_start, processing_end, slurm_job_id, error_message)
values (%(id)s, %(year)s, %(month)s, %(date)s, %(status)s, current_timestamp,
        case when %(ended)s then current_timestamp end, %(slurm_job_id)s, %(error_message)s)
    on conflict (year, month, date) do update set
       status = excluded.status,
       processing_start = case when %(ended)s or queue.status = excluded.status
                               then coalesce(queue.processing_start, excluded.processing_start)
                               else excluded.processing_start end,
       processing_end = excluded.processing_end,
       slurm_job_id = coalesce(excluded.slurm_job_id, queue.slurm_job_id),
       error_message = excluded.error_message,
       updated_at = current_timestamp
"""
