"""Takes the pictures of docs/images: ``python -m tools.take_pictures``.

A day of the demo's clips, an archive every ten minutes and one of them cut off, is worked on here by the local
executor, with the model that comes with audioctl. Halfway the screen of ``status --watch`` is taken, in the end the
day's report.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyte.screens
from rich.console import Console
from rich.style import Style
from rich.text import Text

from audioctl.demo import make_demo_day
from audioctl.states import ExitCode

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import Page, browser_in
from screens import CTRL_C, in_terminal

DAY = "2025-01-25"
SLOTS = [f"{hour:02}_{minute:02}" for hour in range(24) for minute in range(0, 60, 10)]
CUT_SLOT = "05_20"
COLUMNS, LINES = 96, 24
REPORTS = (("report.png", 960, 1500, "light"), ("report-phone.png", 390, 1200, "dark"))
IMAGES = Path(__file__).parent.parent / "docs/images"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="audioctl-pictures-") as name:
        folder = Path(name)
        make_day(folder / "archives" / DAY)
        audioctl(folder, "submit-day", DAY, "--executor", "local", "--model", "bundled")
        wait_until_done(folder, len(SLOTS) // 2)
        take_screen(folder)
        wait_until_done(folder, len(SLOTS) - 1)
        audioctl(folder, "report", DAY)
        take_pages(folder)


def make_day(folder: Path) -> None:
    make_demo_day(folder, DAY, SLOTS, clips_per_archive=6)
    cut = folder / f"0_{DAY}_{CUT_SLOT}.tar.xz"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])


def audioctl(folder: Path, *arguments: str) -> str:
    """What it printed; an archive that is damaged is to be seen on the pictures."""
    command = [sys.executable, "-m", "audioctl", *arguments]
    done = subprocess.run(command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True)
    assert done.returncode in (ExitCode.DONE, ExitCode.LOOK), command
    return done.stdout


def wait_until_done(folder: Path, archives: int) -> None:
    while json.loads(audioctl(folder, "status", DAY, "--json"))["days"][0]["totals"]["done"] < archives:
        time.sleep(1)


def take_screen(folder: Path) -> None:
    command = ["env", f"--chdir={folder}", sys.executable, "-m", "audioctl", "status", DAY, "--watch"]
    with in_terminal(command, _environment(), COLUMNS, LINES) as terminal:
        terminal.wait_for("^clips/s")
        picture = as_text(terminal.cells)
        terminal.press(CTRL_C)
        terminal.wait_for_end()
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=COLUMNS, record=True, file=nowhere, force_terminal=True)
        console.print(picture, end="")
        drawn = console.export_svg(title=f"audioctl status {DAY} --watch")
    # Fonts that it would fetch from elsewhere; any monospaced one will do.
    (IMAGES / "watch.svg").write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL))


def as_text(cells: Sequence[Sequence[pyte.screens.Char]]) -> Text:
    text = Text(no_wrap=True)
    for number, row in enumerate(cells):
        for cell in row:
            text.append(cell.data, _style(cell))
        text.append("\n" if number < len(cells) - 1 else "")
    return text


def _style(cell: pyte.screens.Char) -> Style:
    return Style(
        color=_colour(cell.fg), bgcolor=_colour(cell.bg), bold=cell.bold, reverse=cell.reverse, italic=cell.italics
    )


def _colour(name: str) -> str | None:
    """pyte names the third of the eight colours as terminals once showed it."""
    if name == "default":
        return None
    name = name.replace("brown", "yellow").replace("bright", "bright_")
    return f"#{name}" if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name) else name


def take_pages(folder: Path) -> None:
    report = folder / f"report-{DAY}.html"
    with tempfile.TemporaryDirectory() as profile, browser_in(Path(profile)) as browser:
        page = Page(browser)
        for picture, width, height, scheme in (
            ("report.png", 960, 1500, "light"),
            ("report-phone.png", 390, 1200, "dark"),
        ):
            page.open(report, width=width, scheme=scheme)
            page.screenshot(IMAGES / picture, width=width, height=height)


def _environment() -> dict[str, str]:
    unwanted = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_") and name not in unwanted
    }
    return kept | {"TERM": "xterm-256color"}


if __name__ == "__main__":
    main()
