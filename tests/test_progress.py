"""The state rules: what the events of a journal add up to, in whatever order they come."""

from __future__ import annotations

import copy
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import (
    ARCHIVE,
    SLOT,
    STAGES_WITH_DATABASE,
    confirmed,
    encode,
    ended,
    extracted,
    failed,
    read_to_end,
    recorded,
    revoked,
    started,
    transcribed,
    uploaded,
    whole_archive,
    write_journal,
)

from audioctl.ledger.events import Event, Step
from audioctl.ledger.progress import ArchiveProgress, read_progress
from audioctl.ledger.rows import archive_values
from audioctl.ledger.transcripts import read_transcripts
from audioctl.states import ArchiveState, Damage, Outcome, Stage, StageState

OTHER_ARCHIVE = msgspec.structs.replace(ARCHIVE, size_bytes=900)
EFFECTS = (Stage.RECORD, Stage.UPLOAD, Stage.CONFIRM)

batch_indices = st.integers(0, 2)
appends: st.SearchStrategy[list[Event]] = st.one_of(
    st.builds(extracted, batch_indices, st.sampled_from("ab")).map(lambda event: [event]),
    st.builds(transcribed, batch_indices),
    st.builds(lambda batch: [extracted(batch), *transcribed(batch)], batch_indices),
    st.builds(
        lambda make, batch: [make(batch)], st.sampled_from([recorded, uploaded, confirmed, revoked]), batch_indices
    ),
    st.builds(lambda batch, stage: [failed(batch, stage)], batch_indices, st.sampled_from(EFFECTS)),
    st.builds(lambda batches: [read_to_end(batches)], st.integers(0, 4)),
    st.builds(
        lambda attempt, archive, stages: [started(attempt, archive=archive, stages=stages)],
        st.integers(1, 3),
        st.sampled_from([ARCHIVE, OTHER_ARCHIVE]),
        st.sampled_from([started().stages, STAGES_WITH_DATABASE]),
    ),
    st.builds(lambda attempt, outcome: [ended(attempt, outcome)], st.integers(1, 3), st.sampled_from(Outcome)),
)
"""What one append of a job may hold."""

many_examples = settings(max_examples=400, deadline=None)
journals = st.lists(appends, max_size=40).map(lambda parts: [event for part in parts for event in part])
"""Anything but likely: far more mixed up than any job would write."""


def fold(events: list[Event]) -> ArchiveProgress:
    progress = ArchiveProgress()
    for event in events:
        progress.apply(event)
    return progress


@many_examples
@given(journals)
def test_the_counts_add_up_after_every_event(events: list[Event]) -> None:
    progress = ArchiveProgress()
    for event in [started(), *events]:
        progress.apply(event)
        values = archive_values(progress, lease_is_held=True)
        assert values["batches_done"] <= values["batches_seen"] == len(progress.batches)
        assert values["batches_failed"] <= values["batches_seen"] - values["batches_done"]
        assert values["clips"] == values["stored"] + values["rejected"]
        is_transcribed = [batch.is_transcribed for batch in progress.batches.values()]
        assert values["stored"] == values["rejected"] == values["skipped"] == sum(is_transcribed)
        assert values["audio_seconds"] == 2.5 * sum(is_transcribed)
        assert values["owed_upload"] <= values["stored"]
        assert values["owed_record"] <= values["stored"]
        if progress.is_complete:
            assert values["batches_done"] == values["batches_seen"]
            assert values["owed_upload"] == values["owed_record"] == 0


@many_examples
@given(journals)
def test_no_effect_of_a_batch_comes_before_its_transcripts(events: list[Event]) -> None:
    progress = ArchiveProgress()
    for event in events:
        progress.apply(event)
        for batch in progress.batches.values():
            assert batch.state(Stage.EXTRACT) is StageState.DONE
            if not batch.is_transcribed:
                assert {batch.state(stage) for stage in EFFECTS} == {StageState.PENDING}


@many_examples
@given(journals)
def test_a_batch_tells_an_error_as_long_as_something_of_it_has_failed(events: list[Event]) -> None:
    for batch in fold(events).batches.values():
        assert (batch.error is not None) == (StageState.FAILED in batch.stages.values())


@many_examples
@given(journals)
def test_an_event_that_comes_twice_changes_nothing(events: list[Event]) -> None:
    once = fold(events)
    for event in events[-1:]:
        again = copy.deepcopy(once)
        again.apply(event)
        assert again == once


@many_examples
@given(journals)
def test_the_transcripts_of_a_journal_are_those_of_its_transcribed_batches(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    journal = tmp_path_factory.mktemp("journal") / "12_30.jsonl"
    journal.write_bytes(encode(events))
    progress = read_progress(journal)
    assert progress == fold(events)
    transcripts = read_transcripts(journal)
    assert list(transcripts) == sorted(index for index, batch in progress.batches.items() if batch.is_transcribed)
    for index, batch in transcripts.items():
        assert [clip.ordinal for clip in batch.clips] == [3 * index, 3 * index + 1, 3 * index + 2]
        is_uploaded = progress.batches[index].state(Stage.UPLOAD) is StageState.DONE
        assert (batch.destination is not None, len(batch.files)) == (is_uploaded, int(is_uploaded))


def test_an_archive_that_went_well_is_done() -> None:
    progress = fold(whole_archive())
    assert progress.is_complete
    assert progress.state(lease_is_held=False) == (ArchiveState.DONE, None)


@pytest.mark.parametrize("stop", range(1, len(whole_archive())))
def test_an_archive_without_the_last_word_of_its_job_is_running_or_lost(stop: int) -> None:
    progress = fold(whole_archive()[:stop])
    assert progress.state(lease_is_held=True) == (ArchiveState.RUNNING, None)
    assert progress.state(lease_is_held=False) == (ArchiveState.FAILED, "lost")


def test_a_damaged_archive_whose_readable_part_is_done_is_damaged() -> None:
    events = [started(), extracted(0), *transcribed(0), uploaded(0), read_to_end(1, Damage.CUT_OFF), ended()]
    assert fold(events).state(lease_is_held=False) == (ArchiveState.DAMAGED, "cut_off")


@pytest.mark.parametrize("outcome", [Outcome.OWED, Outcome.DRAINED, Outcome.FAILED])
def test_an_attempt_that_did_not_finish_fails_the_archive_with_its_outcome(outcome: Outcome) -> None:
    assert fold([started(), ended(1, outcome)]).state(lease_is_held=False) == (ArchiveState.FAILED, outcome.value)


def test_the_last_words_of_a_job_that_was_taken_over_do_not_end_the_attempt_of_the_other() -> None:
    progress = fold([started(1), started(2), ended(1, Outcome.FAILED)])
    assert progress.state(lease_is_held=True) == (ArchiveState.RUNNING, None)


def test_what_a_job_writes_after_another_took_over_counts_for_nothing(tmp_path: Path) -> None:
    """It hung in the middle of a write for longer than its lease held."""
    journal = [started(1), extracted(0), started(2), *transcribed(0), uploaded(0), read_to_end(1), ended(2)]
    late = [msgspec.structs.replace(event, attempt=1) if isinstance(event, Step) else event for event in transcribed(0)]
    progress = fold([*journal, *late])
    assert progress.is_complete
    assert progress.state(lease_is_held=False) == (ArchiveState.DONE, None)
    before = read_transcripts(write_journal(tmp_path / "before", SLOT, journal))
    assert read_transcripts(write_journal(tmp_path / "after", SLOT, [*journal, *late])) == before


def test_of_a_changed_archive_only_batches_with_another_digest_are_void() -> None:
    progress = fold([*whole_archive(3), started(2, archive=OTHER_ARCHIVE)])
    assert progress.read is None
    for index, digest in enumerate("aba"):
        progress.apply(extracted(index, digest))
    assert [progress.batch_is_done(index) for index in range(3)] == [True, False, True]
    assert progress.batches[1].stored == 0
    for event in (*transcribed(1), uploaded(1), read_to_end(3), ended(2)):
        progress.apply(event)
    assert progress.is_complete


def test_a_shorter_archive_in_its_place_drops_the_batches_that_it_has_not() -> None:
    progress = fold([*whole_archive(3), started(2, archive=OTHER_ARCHIVE), extracted(0), read_to_end(1)])
    assert list(progress.batches) == [0]
    assert progress.is_complete


def test_effects_of_a_batch_that_was_dropped_or_voided_meanwhile_count_for_nothing() -> None:
    """The rows that an earlier attempt owed reach the database while this one finds that the archive was replaced."""
    progress = fold([*whole_archive(2), started(2, archive=OTHER_ARCHIVE), extracted(0, "b"), recorded(0), uploaded(0)])
    assert not progress.batches[0].is_transcribed
    for event in (read_to_end(1), recorded(1), failed(1, Stage.RECORD), *transcribed(0)):
        progress.apply(event)
    assert progress.batches[0].owes(Stage.RECORD)
    assert progress.batches[0].owes(Stage.UPLOAD)


def test_what_failed_and_then_came_about_is_done() -> None:
    progress = fold([started(), extracted(0), *transcribed(0), failed(0, Stage.UPLOAD), uploaded(0)])
    assert progress.batch_is_done(0)
    assert progress.batches[0].error is None


def recorded_archive(damage: Damage | None = None) -> list[Event]:
    """Of two batches, in the database too."""
    events: list[Event] = [started(stages=STAGES_WITH_DATABASE)]
    for batch in range(2):
        events += [extracted(batch), *transcribed(batch), recorded(batch), uploaded(batch), confirmed(batch)]
    return [*events, read_to_end(2, damage), ended()]


@pytest.mark.parametrize(("damage", "state"), [(None, ArchiveState.DONE), (Damage.CUT_OFF, ArchiveState.DAMAGED)])
def test_of_a_revoked_upload_only_the_upload_and_its_confirmation_are_owed(
    damage: Damage | None, state: ArchiveState
) -> None:
    progress = fold(recorded_archive(damage))
    assert progress.state(lease_is_held=False)[0] is state
    progress.apply(revoked(1))
    assert progress.state(lease_is_held=False) == (ArchiveState.FAILED, "owed")
    assert progress.batch_is_done(0)
    assert [stage for stage in Stage if not progress.batches[1].is_done([stage])] == [Stage.UPLOAD, Stage.CONFIRM]
    assert (progress.owed(Stage.UPLOAD), progress.batches[1].error) == (1, "file missing")
    for event in (started(2, stages=STAGES_WITH_DATABASE), uploaded(1), confirmed(1), ended(2)):
        progress.apply(event)
    assert progress.is_complete
    assert progress.state(lease_is_held=False)[0] is state


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.DONE}))
def test_an_attempt_that_was_not_done_ended_as_it_did_whatever_is_revoked(outcome: Outcome) -> None:
    progress = fold([*whole_archive()[:-1], ended(1, outcome), revoked(0)])
    assert progress.state(lease_is_held=False) == (ArchiveState.FAILED, outcome.value)


def test_a_revocation_of_what_is_not_transcribed_revokes_only_that_it_is_done() -> None:
    progress = fold([started(), extracted(0), read_to_end(1), ended(), revoked(0), revoked(7)])
    assert progress.batches[0] == fold([started(), extracted(0)]).batches[0]
    assert progress.state(lease_is_held=False) == (ArchiveState.FAILED, "owed")


def test_a_database_that_is_configured_later_is_owed_what_was_done_without() -> None:
    progress = fold([*whole_archive(2), started(2, stages=STAGES_WITH_DATABASE)])
    assert progress.owed(Stage.RECORD, Stage.CONFIRM) == 2
    assert progress.owed(Stage.UPLOAD) == 0
    assert not progress.is_complete
    for event in (recorded(0), confirmed(0), recorded(1), confirmed(1)):
        progress.apply(event)
    assert progress.is_complete


def test_a_journal_that_is_not_there_is_an_archive_that_nobody_has_begun_on(tmp_path: Path) -> None:
    progress = read_progress(tmp_path / "12_30.jsonl")
    assert progress == ArchiveProgress()
    assert progress.state(lease_is_held=False) == (ArchiveState.PENDING, None)
    assert archive_values(progress, lease_is_held=False) == {}
    assert read_transcripts(tmp_path / "12_30.jsonl") == {}
