"""What a figure should be, printed beside what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """One of the two limits is given."""

    what: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_reached(self) -> bool:
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )

    def __str__(self) -> str:
        wanted = f"at least {self.at_least:,g}" if self.at_most is None else f"at most {self.at_most:,g}"
        return f"{'reached    ' if self.is_reached else 'NOT reached'}  {self.what}: {self.measured:,.4g}, {wanted}"


def tell(bounds: Sequence[Bound]) -> None:
    print()
    for bound in bounds:
        print(bound)
