"""``-h`` of every command: short, and readable on 80 columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from audioctl.cli import build_app, main


def paths(group: Any, *above: str) -> Iterator[tuple[str, ...]]:
    """Of every command, the groups and hidden ones too, as it is typed."""
    yield above
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from paths(command, *above, name)
        else:
            yield (*above, name)


@pytest.mark.parametrize("path", list(paths(typer.main.get_command(build_app()))), ids=" ".join)
def test_help_fits_on_80_columns_and_no_word_of_it_is_cut(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    texts = []
    for flag in ("-h", "--help"):
        monkeypatch.setattr(sys, "argv", ["audioctl", *path, flag])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        texts.append(capsys.readouterr().out)
    short, long = texts
    assert short == long
    lines = short.splitlines()
    assert lines[0].startswith(" ".join(("Usage: audioctl", *path)))
    assert max(map(len, lines)) <= 80
    cut = [line for line in lines[1:] if line.endswith("...")]
    assert cut == [], "the first sentence of a command is too long for the list of commands"
    assert lines[2].startswith("  "), "what it does is told first"
