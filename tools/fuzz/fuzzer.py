"""The loop: change an input that is known, run it, keep it when it reaches something new."""

from __future__ import annotations

import random
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from tools.fuzz.coverage import Step, recorded_steps
from tools.fuzz.mutations import Mutation, mutated

HANG_SECONDS = 20.0
"""Of processor time, so that a busy machine makes no hangs. The longest honest input takes a tenth of a second."""


class HangError(BaseException):
    """An input was not done after HANG_SECONDS. No Exception, so that nobody on the way takes it for damage."""


class Target(Protocol):
    """Something to be fuzzed. ``run`` raises for a fault, and for nothing else."""

    @property
    def seeds(self) -> Sequence[bytes]: ...

    @property
    def mutations(self) -> Sequence[Mutation]: ...

    @property
    def files(self) -> frozenset[str]:
        """The source files whose lines count as something reached."""
        ...

    def run(self, content: bytes) -> None: ...


@dataclass(frozen=True)
class Fault:
    content: bytes
    report: str
    """The traceback."""


@dataclass
class Fuzzer:
    """``seed`` and the number of inputs decide everything that happens."""

    target: Target
    seed: int
    inputs: int = 0
    corpus: list[bytes] = field(default_factory=list)
    steps: set[Step] = field(default_factory=set)
    faults: dict[str, Fault] = field(default_factory=dict)
    """By the kind of the exception and where it was raised: many inputs have the same fault."""

    def run_while(self, wanted: Callable[[], bool]) -> None:
        """The seeds, then changed inputs for as long as ``wanted``."""
        choices = random.Random(self.seed)
        for content in self.target.seeds:
            self.try_input(content)
        while wanted():
            content = _recent(self.corpus, choices)
            self.try_input(mutated(content, self.corpus, self.target.mutations, choices))

    def try_input(self, content: bytes) -> None:
        self.inputs += 1
        with recorded_steps(self.target.files) as steps:
            try:
                with _time_limit():
                    self.target.run(content)
            except (Exception, HangError) as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} at {where.filename}:{where.lineno}"
                self.faults.setdefault(kind, Fault(content, traceback.format_exc()))
                return
        if not steps <= self.steps:
            self.steps |= steps
            self.corpus.append(content)


def _recent(corpus: list[bytes], choices: random.Random) -> bytes:
    """What was found late is where something new is likeliest."""
    return corpus[max(choices.randrange(len(corpus)), choices.randrange(len(corpus)))]


@contextmanager
def _time_limit() -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise HangError(f"not done after {HANG_SECONDS} s")

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
