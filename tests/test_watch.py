"""``status --watch`` as people use it: on terminals of any size, over slow lines, on others' runs, in scripts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from journals import (
    DAY,
    ended,
    extracted,
    holder_process,
    read_to_end,
    recorded,
    started,
    transcribed,
    uploaded,
    whole_archive,
    write_journal,
)
from screens import CTRL_C, Terminal, in_terminal
from state_folders import AS_ANYBODY

from audioctl.clock import utc_now
from audioctl.ledger.events import Event
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import lease_path
from audioctl.ledger.models import ledger_path
from audioctl.states import Damage, Outcome, Stage
from audioctl.timing import Timing

STAGES = [Stage.EXTRACT, Stage.TRANSCRIBE, Stage.RECORD, Stage.UPLOAD]
TIMING = Timing(elapsed_seconds=30, transcribe_seconds=29, batches=2, clips=2, audio_seconds=600, clips_ahead=3)
CLOCK = re.compile(r"\d\d:\d\d:\d\dZ")
A_COLOUR = re.compile(rb"\x1b\[(?:\d+;)*3\d")
LEFT_AS_IT_WAS = b"\x1b[?25h\x1b[?1049l"
"""The cursor is shown, and the terminal's first screen."""

Watch = Callable[..., Terminal]


def now(events: list[Event]) -> list[Event]:
    return [msgspec.structs.replace(event, at=utc_now()) for event in events]


def half_an_archive(node: str) -> list[Event]:
    """Three members a batch, of which one is a clip; the third batch is with the recogniser."""
    first, second = [[extracted(batch), *transcribed(batch), recorded(batch), uploaded(batch)] for batch in (0, 1)]
    second[-3] = msgspec.structs.replace(second[-3], timing=TIMING)
    return now([started(node=node, stages=STAGES), *first, *second, extracted(2)])


@pytest.fixture
def busy(state: Path) -> Iterator[Path]:
    """A day with an archive in each state, two of which are being worked on."""
    write_journal(state, "00_00", now(whole_archive(3, stages=STAGES)))
    write_journal(state, "00_10", [started(), ended(outcome=Outcome.FAILED, error="No space is left on scratch.")])
    cut = [started(), extracted(0), *transcribed(0), uploaded(0), read_to_end(1, Damage.CUT_OFF), ended()]
    write_journal(state, "00_20", cut)
    running = {"12_00": "gpu-node01", "12_34": "gpu-node02"}
    for slot, node in running.items():
        write_journal(state, slot, half_an_archive(node))
    with holder_process(*(lease_path(journal_path(state, DAY, slot)) for slot in running)):
        yield state


def environment(state: Path, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    unwanted = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    for name in unwanted:
        plain.pop(name, None)
    return plain | {"AUDIOCTL_PATHS__STATE_DIR": str(state), "TERM": "xterm-256color"} | dict(changes or {})


COMMAND = [sys.executable, "-m", "audioctl", "status"]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """``watch(state, *arguments, columns, lines)`` runs ``status --watch`` in a terminal."""
    with ExitStack() as stack:

        def start(
            state: Path, *arguments: str, columns: int = 80, lines: int = 24, prefix: Sequence[str] = (), **changes: str
        ) -> Terminal:
            command = [*prefix, *COMMAND, *arguments, "--watch"]
            return stack.enter_context(in_terminal(command, environment(state, changes), columns, lines))

        yield start


def wait_for_next_look(terminal: Terminal) -> bytes:
    """What the terminal is sent for it."""
    found = CLOCK.search(terminal.text)
    assert found is not None
    before = len(terminal.received)
    terminal.wait_for(rf"(?s)\A(?!.*{found[0]}).*\d\d:\d\d:\d\dZ")
    return terminal.received[before:]


def test_80_by_24_shows_the_day_its_rates_what_bounds_it_and_what_to_type(busy: Path, watch: Watch) -> None:
    terminal = watch(busy, DAY)
    terminal.wait_for("running  1 of 5 done")
    rows = terminal.rows
    assert rows[1].startswith("00    01    02")
    assert rows[2] == "#x!" + "." * 69
    assert rows[4] == ">..>" + "." * 68
    assert rows[5] == "# 1 done  > 2 running  x 1 failed  ! 1 damaged or owed  . none"
    assert rows[6] == "not on ten minutes:  > 12_34"
    assert "x 00_10  failed: No space is left on scratch." in rows
    assert "! 00_20  cut_off: It is cut." in rows
    assert f"  audioctl resume {DAY}  takes up what failed or was replaced" in rows
    assert f"  audioctl logs {DAY} 00_10  tells more" in rows
    assert any(re.fullmatch(r"last \d+ (s|min) +extract +transcribe +record +upload", row) for row in rows)
    assert any(row.startswith("The recogniser bounds it: it was busy 97% of the time") for row in rows)
    assert any(re.fullmatch(r"12_00 +gpu-node01 +2/3 +4 +20 +now +-", row) for row in rows)
    assert len(rows) == 24
    assert "Traceback" not in terminal.text


def test_200_by_50_shows_the_day_in_one_row(busy: Path, watch: Watch) -> None:
    terminal = watch(busy, DAY, columns=200, lines=50)
    terminal.wait_for("running  1 of 5 done")
    assert terminal.rows[2] == "#x!" + "." * 69 + ">..>" + "." * 68
    assert terminal.rows[0].endswith("Z  Ctrl-C ends the watch, not the jobs")


def test_a_look_that_finds_nothing_new_sends_next_to_nothing(busy: Path, watch: Watch) -> None:
    terminal = watch(busy)  # all days: no rates that fall
    terminal.wait_for("1 day: 1 running")
    wait_for_next_look(terminal)
    assert len(terminal.received) > 600
    assert len(wait_for_next_look(terminal)) < 200


def test_what_happens_is_seen_without_pressing_anything(busy: Path, watch: Watch) -> None:
    terminal = watch(busy, DAY)
    terminal.wait_for("running  1 of 5 done")
    write_journal(busy, "00_30", now(whole_archive(1)))
    terminal.wait_for("running  2 of 6 done")
    assert terminal.rows[2].startswith("#x!#")


def test_the_page_fits_the_terminal_again_after_it_was_resized(busy: Path, watch: Watch) -> None:
    terminal = watch(busy, DAY)
    terminal.wait_for("running  1 of 5 done")
    terminal.resize(160, 40)
    terminal.wait_for(r"^#x!\.+>\.\.>\.+$")
    terminal.resize(40, 12)
    terminal.wait_for(r"^00    01    02    03    04    05$")
    assert terminal.rows[2] == "#x!" + "." * 33


def test_ctrl_c_ends_it_well_and_leaves_the_terminal_as_it_was(busy: Path, watch: Watch) -> None:
    terminal = watch(busy, DAY)
    assert terminal.echoes()
    terminal.wait_for("running  1 of 5 done")
    assert not terminal.echoes()
    terminal.press(b"hello")
    wait_for_next_look(terminal)
    assert "hello" not in terminal.text
    terminal.press(CTRL_C)
    assert terminal.wait_for_end() == 0
    assert terminal.received.endswith(LEFT_AS_IT_WAS)
    assert terminal.echoes()


def test_no_color_is_heeded_and_nothing_is_lost_by_it(busy: Path, watch: Watch) -> None:
    coloured, plain = watch(busy, DAY), watch(busy, DAY, NO_COLOR="1")
    for terminal in (coloured, plain):
        terminal.wait_for("running  1 of 5 done")
    assert A_COLOUR.search(coloured.received)
    assert not A_COLOUR.search(plain.received)
    assert plain.rows[1:7] == coloured.rows[1:7]


def test_a_terminal_that_cannot_move_its_cursor_gets_a_page_when_something_changes(busy: Path, watch: Watch) -> None:
    terminal = watch(busy, DAY, TERM="dumb", lines=60)
    terminal.wait_for(r"^12_34 ")
    write_journal(busy, "00_30", now(whole_archive(1)))
    terminal.wait_for("running  2 of 6 done")
    assert b"\x1b" not in terminal.received
    assert terminal.received.count(b" done, ") + terminal.received.count(b" done  ") >= 2
    terminal.press(CTRL_C)
    assert terminal.wait_for_end() == 0


def test_a_colleague_who_may_only_read_sees_what_is_new(read_only: Path, watch: Watch) -> None:
    content = ledger_path(read_only).read_bytes()
    terminal = watch(read_only, DAY, prefix=AS_ANYBODY)
    terminal.wait_for("of 9 done")
    write_journal(read_only, "21_00", whole_archive(5))  # its owner may
    terminal.wait_for("of 10 done")
    assert ledger_path(read_only).read_bytes() == content


def test_a_ledger_that_cannot_be_used_for_a_while_is_told_and_does_not_end_the_watch(busy: Path, watch: Watch) -> None:
    terminal = watch(busy, DAY, columns=200)
    terminal.wait_for("running  1 of 5 done")
    ledger_path(busy).write_bytes(b"This was never a database.\n" * 200)
    terminal.wait_for(r"^The ledger .* is damaged")
    assert terminal.rows[0].startswith(f"{DAY}  running  1 of 5 done")
    rebuild = [sys.executable, "-m", "audioctl", "ledger", "rebuild"]
    subprocess.run(rebuild, env=environment(busy), check=True, stderr=subprocess.DEVNULL)
    terminal.wait_for(r"(?s)\A(?!.*is damaged).*running  1 of 5 done")


def test_all_days_have_a_row_with_a_strip(eventful: Path, watch: Watch) -> None:
    terminal = watch(eventful)
    terminal.wait_for("^2 days: ")
    assert terminal.rows[2].split()[:3] == ["2025-01-26", "done", "#" + "." * 23]
    assert terminal.rows[3].startswith("2025-01-25")
    assert "  audioctl status --failed  tells why, and of which slots" in terminal.rows


def test_failures_alone_can_be_watched(eventful: Path, watch: Watch) -> None:
    terminal = watch(eventful, "--failed")
    terminal.wait_for("^To see to: 1 day ")
    assert "x 00_20  failed: No model." in terminal.rows


def test_where_nothing_was_submitted_it_says_how_to_begin(state: Path, watch: Watch) -> None:
    watch(state).wait_for("Nothing has been submitted yet")


def watch_in_a_pipe(state: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments, "--watch"], env=environment(state), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_watch_that_goes_to_a_pipe_ends_quietly_with_ctrl_c(busy: Path) -> None:
    with watch_in_a_pipe(busy, DAY) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{DAY}  running")
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert (process.returncode, errors) == (0, "")


def test_scripts_get_a_line_of_json_whenever_something_has_changed(busy: Path) -> None:
    with watch_in_a_pipe(busy, DAY, "--json") as process:
        assert process.stdout is not None
        first = msgspec.json.decode(process.stdout.readline())
        assert first["schema"] == 1
        assert [archive["slot"] for archive in first["days"][0]["archives"]][-1] == "12_34"
        write_journal(busy, "00_30", now(whole_archive(1)))
        second = msgspec.json.decode(process.stdout.readline())
        assert second["days"][0]["totals"]["done"] == 2
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
