"""The places that faults are tried at are those that the program has."""

import re
from pathlib import Path

from scenario import ALL_POINTS

import audioctl


def test_every_failpoint_is_tried_and_every_place_that_is_tried_is_one() -> None:
    package = Path(audioctl.__file__).parent
    calls = re.findall(r'failpoint\(f?"([^"]+)"\)', "".join(path.read_text() for path in package.rglob("*.py")))
    patterns = [re.sub(r"\\{.*?\\}", ".+", re.escape(call)) for call in calls]
    assert [point for point in ALL_POINTS if not any(re.fullmatch(pattern, point) for pattern in patterns)] == []
    assert [one for one in patterns if not any(re.fullmatch(one, point) for point in ALL_POINTS)] == []
