"""The page of a report in a real browser: wide and narrow, light and dark, printed, read aloud, and attacked."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from browser import Page
from journals import AT, DAY, ended, extracted, read_to_end, started, transcribed, write_journal
from test_report import clip, figures_of, segment

from audioctl.ledger.events import ClipTranscribed, Event
from audioctl.reporting.page import render_page
from audioctl.reporting.plain import plain
from audioctl.states import ClipState, Flag, Outcome, Reason
from benchmarks.report import make_day

WIDE, NARROW, PAPER = 1280, 360, 720
"""CSS pixels: a screen, a phone, a sheet of A4 within its margins."""

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src="http://evil.example/x.png" onerror="alert(1)">',
    "</style></title><link rel=stylesheet href=//evil.example/x.css>",
    "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'>{{ 7 * 7 }}{% raw %}",
    "nul\x00bell\x07escape\x1b[31m",
    "gpj.\u202egnp.exe\u2066",
    "line\nbreak\ttab",
    "a" * 300,
)

# Of every text that is shown, its contrast to what is behind it, as WCAG 2 computes it.
TOO_FAINT = """
(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const linear = part => part <= 0.04045 * 255 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest(".hidden, title, .attempt-label")) continue;
    const style = getComputedStyle(element);
    const inks = [light(parse(element.closest("svg") ? style.fill : style.color)), light(behind(element))];
    const contrast = (Math.max(...inks) + 0.05) / (Math.min(...inks) + 0.05);
    if (contrast < 4.5) found.push([contrast, walker.currentNode.textContent]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def large_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a day with everything in it."""
    folder = tmp_path_factory.mktemp("large")
    make_day(folder / "state", archives=48, clips=600)
    path = folder / "report.html"
    path.write_text(render_page(figures_of(folder / "state"), folder / "state"), encoding="utf-8")
    return path


@pytest.fixture
def hostile_day(state: Path) -> Path:
    """Names, transcripts, reasons and errors as somebody would write them who wishes us ill."""
    lines: list[Event] = []
    for ordinal, text in enumerate(HOSTILE):
        doubtful = clip(
            ordinal, member=text, flags=[Flag.LOW_CONFIDENCE], language=text,
            segments=[segment(0, text, avg_logprob=-2.0)],
        )  # fmt: skip
        lines.append(ClipTranscribed(at=AT, batch=0, clip=doubtful))
        rejected = clip(100 + ordinal, member=text, state=ClipState.REJECTED, reason=Reason.EMPTY, detail=text)
        lines.append(ClipTranscribed(at=AT, batch=0, clip=rejected))
    count = len(HOSTILE)
    done = msgspec.structs.replace(transcribed(0)[-1], stored=count, rejected=count, skipped=0)
    begin = started(node=HOSTILE[0], job_id=HOSTILE[1])
    failed = ended(outcome=Outcome.FAILED, error=" ".join(HOSTILE))
    write_journal(state, "12_00", [begin, extracted(0), *lines, done, read_to_end(1), failed])
    path = state.parent / "report.html"
    path.write_text(render_page(figures_of(state), state), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_fits_asks_nobody_and_nothing_complains(page: Page, large_day: Path, width: int, scheme: str) -> None:
    page.open(large_day, width=width, scheme=scheme)
    assert page.complaints == []
    assert page.requests == [large_day.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_FAINT) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


def test_every_chart_fills_the_width_that_there_is(page: Page, large_day: Path) -> None:
    for width in (WIDE, NARROW):
        page.open(large_day, width=width)
        widths = page.evaluate("[...document.querySelectorAll('.chart')].map(chart => chart.clientWidth)")
        room = page.evaluate("document.querySelector('figure').clientWidth")
        assert widths == [room] * 5
        letters = page.evaluate("getComputedStyle(document.querySelector('.tick-label')).fontSize")
        assert letters == "11px"


def test_labels_of_times_do_not_run_into_each_other(page: Page, large_day: Path) -> None:
    for width in (WIDE, NARROW):
        page.open(large_day, width=width)
        boxes = page.evaluate(
            "[...document.querySelectorAll('#jobs .tick-label')].map(label => label.getBoundingClientRect())"
            ".filter(box => box.width).map(box => [box.left, box.right])"
        )
        assert len(boxes) >= 2
        assert all(before[1] < after[0] for before, after in pairwise(boxes))


def test_paper_gets_black_on_white_and_all_columns_even_from_a_dark_screen(
    page: Page, large_day: Path, tmp_path: Path
) -> None:
    page.open(large_day, width=PAPER, scheme="dark", media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("document.querySelector('nav').offsetHeight") == 0
    assert page.evaluate("[...document.querySelectorAll('table')].every(table => table.offsetWidth <= innerWidth)")
    page.print_to(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_screen_reader_is_told_what_the_charts_show_and_what_the_cells_are(page: Page, large_day: Path) -> None:
    page.open(large_day, width=WIDE)
    told = page.accessible()
    images = [name for role, name in told if role == "image"]
    assert len(images) == 5
    assert all(name.endswith(".") for name in images)
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))")
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert page.evaluate("[...document.querySelectorAll('table')].every(table => table.caption.textContent)")
    assert page.evaluate(
        "[...document.querySelectorAll('tr')].every(row => row.querySelector('th') || row.closest('#rejected'))"
    )
    assert {name for role, name in told if role == "region"} >= {"Archives", "Rejected clips"}
    assert page.evaluate("document.querySelectorAll('script').length") == 0


def test_what_is_told_by_colour_is_told_in_another_way_too(page: Page, large_day: Path) -> None:
    page.open(large_day, width=WIDE)
    key = page.evaluate("document.querySelector('#jobs .key').innerText")
    assert [word.strip() for word in key.split("\n")] == ["done", "damaged", "owed", "broken off"]
    fills = page.evaluate(
        "[...document.querySelectorAll('#jobs .key rect')].map(one => getComputedStyle(one).fill.slice(0, 3))"
    )
    assert fills == ["rgb", "url", "url", "url"]  # a colour, and three patterns
    dashes = page.evaluate(
        "[...document.querySelectorAll('#stages .key path')].map(one => getComputedStyle(one).strokeDasharray)"
    )
    assert len(set(dashes)) == 4


def test_hostile_texts_are_shown_and_do_nothing(page: Page, hostile_day: Path) -> None:
    page.open(hostile_day, width=NARROW)
    assert page.complaints == []
    assert page.requests == [hostile_day.as_uri()]
    assert page.evaluate("document.querySelectorAll('script, img, iframe, link[rel=stylesheet]').length") == 0
    assert page.evaluate("[...document.querySelectorAll('a')].every(one => one.getAttribute('href')[0] === '#')")
    assert page.evaluate("document.title") == f"{DAY}: report of audioctl"
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    rejected = page.evaluate("[...document.querySelectorAll('#rejected td.member')].map(one => one.textContent)")
    assert rejected[:4] == list(HOSTILE[:4])
    assert rejected[4:7] == [
        r"nul\x00bell\x07escape\x1b[31m",
        r"gpj.\u202egnp.exe\u2066",
        r"line\nbreak\ttab",
    ]
    shown = page.evaluate("document.documentElement.outerHTML")
    assert [character for character in shown if not character.isprintable() and character != "\n"] == []


def test_words_of_every_language_stay_as_they_are() -> None:
    for text in ("می\u200cخواهم", "आज मौसम", "今天天气", "Ünïcödé e\u0301", "👩\u200d💻"):
        assert plain(text) == text
    assert plain("aujourd’hui\u202f: oui\xa0!") == "aujourd’hui : oui !"
    assert plain("\ud800") == r"\ud800"
