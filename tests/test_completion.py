"""What Tab offers, asked for by real shells with the script that ``audioctl --install-completion`` gives them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from journals import DAY

NEXT = "2025-01-26"

# What each shell does with the words of a command line when Tab is pressed. zsh would draw the offers on its screen: in
# their place what it was told to draw is printed.
_BASH = """
. ~/.bash_completions/audioctl.sh
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_audioctl_completion audioctl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
_FISH = """
source ~/.config/fish/completions/audioctl.fish
complete -C {line}
"""
_ZSH = """
compdef() {{ }}
_files() {{ }}
_arguments() {{ print -r -- ${{${{1#*\\(\\(}}%\\)\\)}} }}
. ~/.zfunc/_audioctl
words=({words}) CURRENT=$#words
_audioctl_completion
"""


def _ask_zsh(answer: str) -> list[str]:
    return [word.split(":")[0].strip('"') for word in shlex.split(answer)]


SHELLS: dict[str, tuple[str, Callable[[str], list[str]]]] = {
    "bash": (_BASH, str.split),
    "fish": (_FISH, lambda answer: [line.split("\t")[0] for line in answer.splitlines()]),
    "zsh": (_ZSH, _ask_zsh),
}


class Shell:
    """A shell in which completion was installed, in a home folder of its own."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        program = home / "bin/audioctl"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m audioctl "$@"\n')
        program.chmod(0o755)
        (home / "work").mkdir()
        self.run("audioctl --install-completion")

    def run(self, script: str) -> str:
        """What the shell prints, which runs ``script`` in ``work`` of its home folder; it must not complain."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AUDIOCTL_", "XDG_"))}
        result = subprocess.run(
            # Without a second command the shell may become the program, which then does not find out who asks.
            [self.name, "-c", f"{script}\ntrue"],
            cwd=self.home / "work",
            env=environment | {"HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stderr == ""
        return result.stdout

    def offers(self, *words: str) -> list[str]:
        """For the last word, of which some letters may be typed already."""
        script, read = SHELLS[self.name]
        typed = ["audioctl", *words]
        quoted = [word and shlex.quote(word) for word in typed]
        line = " ".join(typed)
        asked = script.format(words=" ".join(word or "''" for word in quoted), line=shlex.quote(line))
        return sorted(read(self.run(asked)))


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path, eventful: Path) -> Shell:
    """Its working folder has archives of two days and a state folder that knows of two, one of them the same."""
    shell = Shell(request.param, tmp_path / "home")
    eventful.rename(shell.home / "work/audioctl-state")
    for day, slot in ((DAY, "12_30"), (DAY, "12_40"), ("2025-01-27", "12_30")):
        archive = shell.home / f"work/archives/{day}/0_{day}_{slot}.tar.xz"
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.touch()
    return shell


KNOWN_SLOTS = ["00_00", "00_10", "00_20", "00_30", "00_40", "00_50", "01_00", "02_00"]


def test_tab_offers_commands_days_slots_and_values(shell: Shell) -> None:
    assert shell.offers("sta") == ["status"]
    assert shell.offers("status", "") == [DAY, NEXT]
    assert shell.offers("verify", f"{DAY}..") == [f"{DAY}..{DAY}", f"{DAY}..{NEXT}"]
    assert shell.offers("submit-day", "2025") == [DAY, "2025-01-27"]
    assert shell.offers("logs", DAY, "00_") == [slot for slot in KNOWN_SLOTS if slot.startswith("00_")]
    assert shell.offers("verify", DAY, "--slot", "") == KNOWN_SLOTS
    assert shell.offers("submit-day", DAY, "--slot", "") == sorted([*KNOWN_SLOTS, "12_30", "12_40"])
    assert shell.offers("submit-day", "--device", "c") == ["cpu", "cuda"]


def test_flags_and_files_that_were_typed_before_count(shell: Shell) -> None:
    work = shell.home / "work"
    (work / "audioctl-state").rename(work / "elsewhere")
    (work / "own.toml").write_text('[paths]\nstate_dir = "elsewhere"\n')
    assert shell.offers("--config", "own.toml", "status", "") == [DAY, NEXT]
    assert shell.offers("status", "--state-dir", "elsewhere", "") == [DAY, NEXT]


def test_a_mistake_in_the_settings_offers_nothing_and_says_nothing(shell: Shell) -> None:
    work = shell.home / "work"
    before = sorted(path.relative_to(work) for path in work.rglob("*"))
    (work / "audioctl.toml").write_text("[paths\n")
    # fish offers files where it is told of nothing.
    assert not {DAY, NEXT} & set(shell.offers("status", ""))
    assert not set(KNOWN_SLOTS) & set(shell.offers("logs", "nonsense", ""))
    (work / "audioctl.toml").unlink()
    assert sorted(path.relative_to(work) for path in work.rglob("*")) == before, "asking has left something behind"
