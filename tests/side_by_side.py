"""Which tests run in one process when several processes share the work (``pytest -n 2``).

Those that share the cluster are together, so that it is started once, and so are those that share the container image;
the others go by their file. What takes longest begins first, or the last process would end long after the others.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

_TOGETHER = {
    "cluster": (
        "test_cluster_checks.py",
        "test_init.py",
        "test_on_node.py",
        "test_logs.py",
        "test_slurm_day.py",
        "test_slurm_fixture.py",
        "test_slurm_submission.py",
        "test_slurm_trouble.py",
    ),
    "container image": ("test_container.py", "test_slurm_container.py"),
}
_GROUPS = {name: group for group, names in _TOGETHER.items() for name in names}
_LONGEST = ("cluster", "test_faults.py", "container image", "test_bad_input.py", "test_kill_and_resume.py")


def group_of(nodeid: str) -> str:
    name = PurePath(nodeid.split("::")[0]).name
    return _GROUPS.get(name, name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # by the number of tests, which says little of their time
    return ByGroup(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # a process of several
        items.sort(key=lambda item: _place(group_of(item.nodeid)))


def _place(group: str) -> int:
    return _LONGEST.index(group) if group in _LONGEST else len(_LONGEST)
