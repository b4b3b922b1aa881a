"""The man page: as the commands are, and as programs that show man pages want it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import typer

from audioctl.cli import build_app
from audioctl.states import ExitCode
from tools.man_page import EXIT_CODES, man_page

PAGE = Path(__file__).parent.parent / "man" / "audioctl.1"


def test_the_page_is_that_of_the_program() -> None:
    """`make docs` writes it anew."""
    assert PAGE.read_text() == man_page()


def test_man_shows_it_without_a_warning() -> None:
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", str(PAGE)],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    assert max(map(len, shown.stdout.splitlines())) <= 80
    group = typer.main.get_command(build_app())
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.hidden or f"\n   {name} " in shown.stdout
    assert "   db check [OPTIONS]" in shown.stdout
    assert "finish-day" not in shown.stdout


def test_mandoc_has_nothing_against_it() -> None:
    linted = subprocess.run(["mandoc", "-T", "lint", "-W", "style", str(PAGE)], capture_output=True, text=True)
    # A date would have to be changed with every change of the page.
    assert [line for line in linted.stdout.splitlines() if "missing date" not in line] == []


def test_it_explains_every_exit_code() -> None:
    assert EXIT_CODES.keys() == set(ExitCode)
