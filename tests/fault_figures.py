"""The options of the trials in tests/faults, and their figures behind the tests."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-seeds", default="0:200", metavar="FIRST:END", help="seeds of tests/faults")
    parser.addoption("--fault-lanes", type=int, default=2, help="trials of tests/faults side by side")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """As docs/reliability.md quotes them."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and any(name == "tally" for name, _ in report.user_properties)
    ]
    if not reports:
        return
    properties = [one for report in reports for one in report.user_properties]
    faults = Counter(str(value) for name, value in properties if name == "fault")
    tallies = [value for name, value in properties if name == "tally"]
    clips, lost, doubled = (sum(counts) for counts in zip(*tallies, strict=True))
    terminalreporter.section("faults")
    for action, count in sorted(faults.items()):
        terminalreporter.write_line(f"{count:6,}  {action}")
    terminalreporter.write_line(
        f"{len(reports):,} trials, {faults.total():,} faults, {clips:,} clips: lost {lost:,}, doubled {doubled:,}"
    )
