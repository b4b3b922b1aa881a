"""A day as a strip of signs, on terminals of any width."""

from __future__ import annotations

import pytest

from audioctl.cli.strip import Mark, Slot, between_cells, cells, day_strip, legend, mark_of
from audioctl.states import ArchiveState

DONE = [Slot(f"{hour:02}_{minute:02}", Mark.DONE) for hour in range(12) for minute in range(0, 60, 10)]


def drawn(slots: list[Slot], width: int) -> list[str]:
    return [line.plain for line in day_strip(slots, width)]


def test_80_columns_have_the_day_in_two_rows_of_twelve_hours() -> None:
    noon = [Slot("12_00", Mark.RUNNING), Slot("12_10", Mark.WAITING), Slot("23_50", Mark.FAILED)]
    assert drawn([*DONE, *noon], 80) == [
        "00    01    02    03    04    05    06    07    08    09    10    11",
        "#" * 72,
        "12    13    14    15    16    17    18    19    20    21    22    23",
        ">o" + "." * 69 + "x",
    ]


def test_200_columns_have_the_day_in_one_row() -> None:
    ruler, row = drawn(DONE, 200)
    assert ruler.split() == [f"{hour:02}" for hour in range(24)]
    assert row == "#" * 72 + "." * 72


@pytest.mark.parametrize("width", [6, 10, 20, 40, 79, 143])
def test_a_narrower_terminal_has_all_144_slots_in_more_rows(width: int) -> None:
    lines = drawn(DONE, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines[1::2]) == "#" * 72 + "." * 72


def test_each_state_has_a_sign_that_needs_no_colour() -> None:
    signs = {mark_of(state, None).value.character for state in ArchiveState}
    assert signs == {"o", ">", "#", "x", "!", "-"}
    assert len({mark.value.character for mark in Mark}) == len(Mark)


def test_what_only_owes_something_has_not_failed() -> None:
    assert mark_of(ArchiveState.FAILED, "owed") is Mark.LOOK
    assert mark_of(ArchiveState.FAILED, "lost") is Mark.FAILED


def test_of_several_archives_in_one_cell_the_one_that_needs_a_look_is_seen() -> None:
    slots = [Slot("12_30", Mark.DONE), Slot("12_34", Mark.FAILED), Slot("12_39", Mark.RUNNING)]
    assert cells(slots)[12 * 6 + 3] is Mark.FAILED
    assert cells(slots, cell_minutes=60)[12] is Mark.FAILED


def test_slots_that_are_not_on_ten_minutes_are_also_named() -> None:
    text = between_cells([Slot("12_30", Mark.DONE), Slot("12_34", Mark.FAILED), Slot("12_47", Mark.WAITING)])
    assert text is not None
    assert text.plain == "not on ten minutes:  x 12_34  o 12_47"
    assert between_cells(DONE) is None


def test_a_journal_under_another_name_is_named_and_disturbs_nothing() -> None:
    copy = Slot("12_30 copy", Mark.FAILED)
    assert set(cells([copy])) == {Mark.NOTHING}
    text = between_cells([copy])
    assert text is not None
    assert text.plain.endswith("x 12_30 copy")


def test_the_legend_counts_what_there_is_and_explains_the_empty_cells() -> None:
    slots = [*DONE, Slot("13_00", Mark.LOOK), Slot("13_10", Mark.CANCELLED)]
    assert legend(slots).plain == "# 72 done  ! 1 damaged or owed  - 1 cancelled  . none"
