"""``audioctl report``: what it reads from journals, runs and the ledger, and what it says on a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from journals import (
    DAY,
    ended,
    extracted,
    holder_process,
    read_to_end,
    started,
    submit,
    transcribed,
    whole_archive,
    write_journal,
)
from ledgers import bring_up_to_date

from audioctl.clips import ClipRecord, Segment
from audioctl.ledger.events import ClipTranscribed, Event
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import lease_path
from audioctl.ledger.models import open_ledger
from audioctl.ledger.queries import one_day
from audioctl.reporting.clips import KEPT_DOUBTFUL, KEPT_REJECTED, ClipTally, tally
from audioctl.reporting.figures import DayFigures, gather
from audioctl.reporting.history import AttemptEnd, read_history
from audioctl.reporting.page import render_page
from audioctl.states import ArchiveState, ClipState, Flag, Reason

NOW = "2025-01-25T13:00:00Z"


def audioctl(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    command = [sys.executable, "-m", "audioctl", *arguments, "--state-dir", str(state)]
    return subprocess.run(command, cwd=state.parent, env=environment, capture_output=True, text=True, timeout=120)


def figures_of(state: Path, day: str = DAY) -> DayFigures:
    bring_up_to_date(state)
    with open_ledger(state):
        status = one_day(day)
    assert status is not None
    return gather(state, status, set(), NOW)


def clip(ordinal: int, **changes: Any) -> ClipRecord:
    plain = ClipRecord(ordinal, f"{ordinal}.mp3", ClipState.STORED, duration_seconds=4.0, language="en", text="one two")
    return msgspec.structs.replace(plain, **changes)


def segment(start: float, text: str, *, avg_logprob: float = -0.1, compression_ratio: float = 1.0) -> Segment:
    return Segment(start, start + 2, text, avg_logprob, no_speech_prob=0.0, compression_ratio=compression_ratio)


# What is typed and printed


def test_the_page_goes_where_one_stands_and_its_path_is_all_that_is_printed(eventful: Path) -> None:
    result = audioctl(eventful, "report", DAY)
    assert (result.returncode, result.stdout) == (0, f"report-{DAY}.html\n")
    assert (eventful.parent / f"report-{DAY}.html").read_text().startswith("<!DOCTYPE html>")


def test_out_names_the_page_or_its_folder(eventful: Path) -> None:
    page, folder = eventful.parent / "page.html", eventful.parent / "pages"
    folder.mkdir()
    assert audioctl(eventful, "report", DAY, "--out", str(page)).stdout == f"{page}\n"
    assert page.is_file()
    result = audioctl(eventful, "report", "2025-01-24..2025-01-26", "--out", str(folder))
    assert result.stdout.split() == [str(folder / f"report-{day}.html") for day in (DAY, "2025-01-26")]


def test_several_pages_do_not_fit_into_one_file(eventful: Path) -> None:
    result = audioctl(eventful, "report", "2025-01-25..2025-01-26", "--out", "page.html")
    assert result.returncode == 2
    assert "need a folder" in result.stderr


def test_a_day_that_nobody_knows_is_wrong_usage(eventful: Path) -> None:
    result = audioctl(eventful, "report", "2024-12-24")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Nothing is known of 2024-12-24 in" in result.stderr
    assert not (eventful.parent / "report-2024-12-24.html").exists()


def test_a_page_that_cannot_be_written_is_named(eventful: Path) -> None:
    result = audioctl(eventful, "report", DAY, "--out", "nowhere/page.html")
    assert result.returncode == 2
    assert "nowhere/page.html cannot be written: No such file or directory." in result.stderr


def test_a_day_on_which_no_job_has_begun_says_so(state: Path) -> None:
    submit(state, ["12_00", "12_10"])
    figures = figures_of(state)
    assert figures.series is None
    assert "No job has begun; archives that are known of: 2." in render_page(figures, state)


def test_a_running_day_gives_an_interim_report(state: Path) -> None:
    write_journal(state, "12_00", [started(), extracted(0), *transcribed(0)])
    with holder_process(lease_path(journal_path(state, DAY, "12_00"))):
        result = audioctl(state, "report", DAY)
    page = (state.parent / f"report-{DAY}.html").read_text()
    assert (result.returncode, result.stderr) == (0, f"{DAY} is still being worked on: the page tells how far it is.\n")
    assert "An interim report." in page
    assert "Being worked on: 1 of 1 archives; waiting for their jobs: 0." in page


def test_json_has_the_figures_of_status_and_those_of_the_page(eventful: Path) -> None:
    report = json.loads(audioctl(eventful, "report", DAY, "--json").stdout)
    status = json.loads(audioctl(eventful, "status", DAY, "--json").stdout)
    assert report["schema"] == 1
    day = report["days"][0]
    assert {key: day[key] for key in status["days"][0]} == status["days"][0]
    own = {"is_interim", "work_seconds", "attempts", "series", "clips", "why_slow", "costs", "to_see_to"}
    assert own < day.keys()
    assert not (eventful.parent / f"report-{DAY}.html").exists()
    assert audioctl(eventful, "report", DAY, "--json", "--out", "x").returncode == 2


# What is counted


def test_clips_are_counted_as_the_ledger_counts_them(eventful: Path) -> None:
    figures = figures_of(eventful)
    totals, clips = figures.status.totals, figures.clips
    assert totals.stored > 5
    assert (clips.stored, clips.rejected.total(), clips.skipped.total()) == (
        totals.stored,
        totals.rejected,
        totals.skipped,
    )
    assert sum(clips.lengths) == clips.languages.total() == totals.stored
    assert clips.stored_seconds == totals.audio_seconds


def test_a_batch_that_was_done_again_counts_once_and_as_it_was_done_last(state: Path) -> None:
    before = [started(), extracted(0), *transcribed(0), read_to_end(1), ended()]
    after = [started(2), extracted(0, "b"), *transcribed(0), read_to_end(1), ended(2)]
    journal = write_journal(state, "12_00", before)
    write_journal(state, "12_00", after)
    history = read_history(journal, "12_00", running_at=None)
    assert [attempt.end for attempt in history.attempts] == [AttemptEnd.DONE, AttemptEnd.DONE]
    assert (len(history.batches), history.clips.stored, history.clips.rejected[Reason.UNDECODABLE]) == (1, 1, 1)


def test_what_a_dead_job_had_read_waits_for_nobody(state: Path) -> None:
    journal = write_journal(state, "12_00", [started(), extracted(0), *transcribed(0), extracted(1)])
    assert len(read_history(journal, "12_00", running_at=None).batches) == 1
    assert len(read_history(journal, "12_00", running_at=2e9).batches) == 2


def test_each_way_in_which_an_attempt_ends_is_told(eventful: Path) -> None:
    ends = {(attempt.slot, attempt.number): attempt.end for attempt in figures_of(eventful).attempts}
    assert ends["00_00", 1] is AttemptEnd.DONE
    assert ends["00_10", 1] is AttemptEnd.DAMAGED
    assert ends["00_20", 1] is AttemptEnd.FAILED
    assert (ends["00_30", 1], ends["00_30", 2]) == (AttemptEnd.DRAINED, AttemptEnd.DONE)
    assert ends["00_40", 1] is AttemptEnd.BROKEN_OFF
    assert ends["00_50", 1] is AttemptEnd.OWED


def test_a_damaged_journal_counts_as_far_as_it_can_be_read_and_hides_no_other(state: Path) -> None:
    for slot in ("12_00", "12_10"):
        write_journal(state, slot, whole_archive(2))
    with journal_path(state, DAY, "12_00").open("ab") as journal:
        journal.write(b"no event\n")
    figures = figures_of(state)
    assert figures.clips.stored == 4
    assert [trouble.reason for trouble in figures.troubles] == ["damaged_journal"]
    assert len(figures.unreadable) == 1
    assert "12_00.jsonl is damaged" in render_page(figures, state)


# Transcripts to check


def test_the_most_doubtful_transcripts_come_first_with_the_passages_to_listen_to() -> None:
    unsure = clip(
        0,
        flags=[Flag.LOW_CONFIDENCE],
        segments=[segment(0, "sure"), segment(2, "hm", avg_logprob=-1.3), segment(4, "sure again")],
    )
    loop = clip(1, flags=[Flag.REPETITIVE], segments=[segment(0, "la " * 300, compression_ratio=12.0)])
    cut = clip(2, flags=[Flag.TRUNCATED], segments=[segment(0, "well begun"), segment(2, "half")])
    silent = clip(3, flags=[Flag.NO_SPEECH], segments=[], text="")
    found = tally("12_00", [cut, unsure, loop, silent, clip(4, segments=[segment(0, "fine")])])
    assert [(one.member, one.doubt) for one in found.doubtful] == [("1.mp3", 5.0), ("0.mp3", 1.3), ("2.mp3", 0.42)]
    assert [[passage.text[:4] for passage in one.passages] for one in found.doubtful] == [["la l"], ["hm"], ["half"]]
    assert found.doubtful[1].passages[0].start == 2
    assert len(found.doubtful[0].passages[0].text) == 400
    assert found.languages == {"en": 4, None: 1}


def test_however_many_clips_are_doubtful_or_rejected_only_so_many_are_kept() -> None:
    day = ClipTally()
    for batch in range(20):
        clips = [
            clip(0, flags=[Flag.LOW_CONFIDENCE], segments=[segment(0, "hm", avg_logprob=-1 - batch / 10)])
            for _ in range(200)
        ]
        rejected = [clip(0, state=ClipState.REJECTED, reason=reason) for reason in (Reason.EMPTY, Reason.TOO_LARGE)]
        day.merge(tally("12_00", [*clips, *rejected * 5]))
    assert (day.doubtful_count, len(day.doubtful)) == (4000, KEPT_DOUBTFUL)
    assert {one.doubt for one in day.doubtful} == {2.9}
    assert (day.rejected.total(), len(day.first_rejected)) == (200, 2 * KEPT_REJECTED)


def test_the_page_says_how_many_more_there_are(state: Path) -> None:
    doubtful = [
        clip(number, flags=[Flag.LOW_CONFIDENCE], segments=[segment(0, "hm", avg_logprob=-2.0)]) for number in range(70)
    ]
    events: list[Event] = [ClipTranscribed(at=NOW, batch=0, clip=one) for one in doubtful]
    done = msgspec.structs.replace(transcribed(0)[-1], stored=70, rejected=0, skipped=0)
    write_journal(state, "12_00", [started(), extracted(0), *events, done, read_to_end(1), ended()])
    page = render_page(figures_of(state), state)
    assert "The 50 most doubtful of 70" in page
    assert page.count('class="passage"') == 50


# What to type


@pytest.mark.parametrize(
    ("slot", "stands", "reason", "command"),
    [
        ("00_10", ArchiveState.DAMAGED, "cut_off", f"audioctl resume {DAY}"),
        ("00_20", ArchiveState.FAILED, "failed", f"audioctl logs {DAY} 00_20"),
        ("00_40", ArchiveState.FAILED, "lost", f"audioctl logs {DAY} 00_40"),
        ("01_00", ArchiveState.FAILED, "owed", f"audioctl resume {DAY}"),
    ],
)
def test_each_failure_says_what_to_type(eventful: Path, slot: str, stands: str, reason: str, command: str) -> None:
    found = {slot: trouble for trouble in figures_of(eventful).troubles for slot in trouble.slots}
    assert (found[slot].state, found[slot].reason, found[slot].commands[0]) == (stands, reason, command)
    assert found[slot].commands[-1] == f"audioctl resume {DAY}"


def test_what_is_done_needs_nobody(eventful: Path) -> None:
    assert "00_00" not in {slot for trouble in figures_of(eventful).troubles for slot in trouble.slots}
    assert figures_of(eventful, "2025-01-26").troubles == []
