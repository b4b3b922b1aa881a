"""Which tests run in one process when several processes share the work (``pytest -n 2 --dist loadgroup``).

Those that share something costly (the cluster, the container image) are together, so that it is made once; the others
go by their file. What takes longest begins first, or the last process would end long after the others.
"""

from __future__ import annotations

import pytest

_COSTLY = ("container_image", "cluster")
_LONG = ("cluster", "test_faults.py", "container_image", "test_bad_input.py", "test_kill_and_resume.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("dist", "no") == "no":
        return
    groups = {item: _group(item) for item in items}
    items.sort(key=lambda item: _LONG.index(groups[item]) if groups[item] in _LONG else len(_LONG))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item]))


def _group(item: pytest.Item) -> str:
    fixtures = getattr(item, "fixturenames", ())
    return next((name for name in _COSTLY if name in fixtures), item.path.name)
