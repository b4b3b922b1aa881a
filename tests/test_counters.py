"""What a job that works tells of its progress: no time left, no speed and no share that nobody can know."""

import pytest

from audioctl.cli.progress import in_one_line
from audioctl.pipeline.counters import Counts


@pytest.mark.parametrize(
    ("counts", "share_done", "remaining_seconds"),
    [
        (Counts(elapsed_seconds=20), None, None),
        (Counts(elapsed_seconds=20, compressed_size_bytes=100), 0, None),
        (Counts(20, 90, 100, members_read=800, clips_ahead=800), 0, None),
        (Counts(20, 90, 100, members_read=800, clips_ahead=600), 0.225, None),
        (Counts(20, 80, 100, members_read=800, clips_ahead=600, clips_stored=200), 0.2, 80),
        (Counts(20, 100, 100, members_read=800, clips_ahead=600, clips_stored=200), 0.25, 60),
        (Counts(20, 100, 100, members_read=800, clips_stored=800), 1, 0),
    ],
    ids=["unopened", "opened", "read ahead", "no transcript yet", "in the midst", "all read", "all done"],
)
def test_the_time_left_goes_by_what_is_transcribed_not_by_what_is_read(
    counts: Counts, share_done: float | None, remaining_seconds: float | None
) -> None:
    assert counts.share_done == (None if share_done is None else pytest.approx(share_done))
    assert counts.remaining_seconds == (None if remaining_seconds is None else pytest.approx(remaining_seconds))


def test_a_line_names_the_time_left_while_there_is_some() -> None:
    assert in_one_line(Counts(20, 100, 100, members_read=800, clips_ahead=600, clips_stored=200)).endswith(
        ", 1:00 left"
    )
    assert "left" not in in_one_line(Counts(20, 100, 100, members_read=800, clips_stored=800))


def test_a_second_run_tells_what_it_kept_instead_of_a_speed_of_nothing() -> None:
    kept = Counts(0.2, 100, 100, clips_before=40, members_read=40)
    assert in_one_line(kept) == "100% read, 40 clips kept from earlier attempts, 0 uploaded"
