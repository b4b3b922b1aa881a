"""docs/errors: every error has its page, and what the pages quote is what the program says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from sentences import FILLED_IN, can_be_said, sentences, sentences_of_errors

import audioctl.database.connection
import audioctl.ledger.models
import audioctl.storage.failures  # noqa: F401 - with it, every module that adds to the tree is imported
from audioctl.cli import build_app
from audioctl.errors import AudioctlError, UsageError

FOLDER = Path(__file__).parents[1] / "docs" / "errors"
PAGES = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md"})
HEADINGS = [
    "What it says",
    "What has happened",
    "What to do",
    "What is kept",
    "So that it does not come again",
]
of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def tree(error: type[AudioctlError] = AudioctlError) -> Iterator[type[AudioctlError]]:
    yield error
    for below in error.__subclasses__():
        yield from tree(below)


def classes_and_exit_code(page: Path) -> tuple[list[str], int]:
    """Which errors the page is about, and the exit code that it tells."""
    found = re.search(r"^Exit code (\d+)\. In the code: (.*)\.$", page.read_text(), re.MULTILINE)
    assert found, f"{page.name} does not say which error it is about"
    return re.findall(r"`(\w+)`", found[2]), int(found[1])


def rows() -> Iterator[tuple[str, str, int]]:
    """Of the index: what you see, without a remark in brackets; the page; the exit code."""
    for line in (FOLDER / "README.md").read_text().splitlines():
        if row := re.fullmatch(r"\| (.*?)(?: \((?!…)[^…]*\))? \| \[[\w-]+\]\((.*)\) \| (\d+) \|", line):
            yield row[1], row[2], int(row[3])


def is_seen_in(row: str, sentence: str) -> bool:
    """A row may stop early, and leave out words where it has an ellipsis."""
    return re.match(".*".join(map(re.escape, row.split(FILLED_IN))), sentence) is not None


def test_every_error_has_one_page_with_its_exit_code() -> None:
    pages = [(name, code) for page in PAGES for names, code in [classes_and_exit_code(page)] for name in names]
    assert sorted(pages) == sorted((error.__name__, error.exit_code) for error in tree())


@of_each_page
def test_a_page_has_its_parts_in_their_order(page: Path) -> None:
    assert re.findall("^## (.*)$", page.read_text(), re.MULTILINE) == HEADINGS


@of_each_page
def test_what_a_page_quotes_is_what_the_program_says(page: Path) -> None:
    blocks = re.findall(r"^```(?:console|text)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    quoted = [line for block in blocks for line in block.splitlines() if not line.startswith("$ ")]
    assert quoted
    assert [line for line in quoted if not can_be_said(line)] == []


@of_each_page
def test_the_commands_that_a_page_wants_typed_are_there(page: Path) -> None:
    known = typer.main.get_command(build_app()).commands.keys()  # type: ignore[attr-defined]
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`(audioctl [^`]*)`", page.read_text())
    wanted = set(
        re.findall(r"(?:^|\$ |srun |[A-Z]=\S+ )audioctl ([a-z][\w-]*)", "\n".join([*blocks, *spans]), re.MULTILINE)
    )
    assert wanted - known == set()


def test_what_the_program_never_says_is_found_out() -> None:
    assert can_be_said("'25.1.2025' is not a day.")
    assert not can_be_said("'25.1.2025' is no day of the week.")


def test_the_index_has_every_page_with_its_exit_code_and_only_what_is_said() -> None:
    index = list(rows())
    assert {page for _, page, _ in index} == {page.name for page in PAGES}
    codes = {page.name: classes_and_exit_code(page)[1] for page in PAGES}
    assert [row for row, page, code in index if codes[page] != code] == []
    assert [row for row, _, _ in index if not any(is_seen_in(row, sentence) for sentence in sentences())] == []


@of_each_page
def test_the_index_leads_from_every_sentence_of_an_error_to_its_page(page: Path) -> None:
    # What is wrong with the usage says itself what to type; its page needs no list of it.
    names = [name for name in classes_and_exit_code(page)[0] if name != UsageError.__name__]
    of_page = [row for row, target, _ in rows() if target == page.name]
    said = sentences_of_errors(*names)
    missing = [sentence for sentence in said if not any(is_seen_in(row, sentence) for row in of_page)]
    assert missing == [], f"docs/errors/README.md wants a row that leads to {page.name}, for each of {missing}"
