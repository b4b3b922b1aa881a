"""Seeded faults at named places in real jobs, and what must hold when the work was taken up again afterwards.

``--fault-seeds 1000:2000`` tries other seeds than the usual ones, ``--fault-lanes 8`` so many at a time. Scenarios that
once found a mistake are in ``found.json``; they are tried first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from lanes import verdicts
from scenario import Scenario, scenario_of
from trial import Verdict

FOUND = Path(__file__).with_name("found.json")


def found_scenarios() -> dict[str, Scenario]:
    return msgspec.json.decode(FOUND.read_bytes(), type=dict[str, Scenario])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        first, end = map(int, metafunc.config.getoption("--fault-seeds").split(":"))
        metafunc.parametrize("name", [*found_scenarios(), *map(str, range(first, end))])


class Trials:
    """Verdicts of all trials that were asked for; they are carried out as the tests ask for them."""

    def __init__(self, coming: Iterator[tuple[str, Verdict]]) -> None:
        self._coming = coming
        self._come: dict[str, Verdict] = {}

    def verdict(self, name: str) -> Verdict:
        while name not in self._come:
            came, verdict = next(self._coming)
            self._come[came] = verdict
        return self._come[name]


@pytest.fixture(scope="module")
def trials(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    wanted = [item.callspec.params["name"] for item in request.session.items if item.parent is request.node]  # type: ignore[attr-defined]
    found = found_scenarios()
    scenarios = [(name, found.get(name) or scenario_of(int(name))) for name in wanted]
    lanes = request.config.getoption("--fault-lanes")
    return Trials(verdicts(scenarios, tmp_path_factory.mktemp("trials"), lanes))


def test_nothing_is_lost_or_doubled(name: str, trials: Trials, record_property: Callable[[str, object], None]) -> None:
    verdict = trials.verdict(name)
    for fault in verdict.struck:
        record_property("fault", fault.action)
    record_property("tally", tuple(verdict.tally))  # what xdist can carry
    assert not verdict.complaints, f"{verdict.scenario}\n" + "\n".join(verdict.complaints)
