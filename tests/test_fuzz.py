"""The fuzzer: a short run over each reader, every input that has ever broken one, and that it finds what is there."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools.fuzz import fuzzer as fuzzer_module
from tools.fuzz.__main__ import TARGETS
from tools.fuzz.fuzzer import Fuzzer
from tools.fuzz.mutations import Mutation

FOUND = Path(__file__).parent / "fuzz"
"""``<target>-<what was wrong>``: inputs that once ended in something else than members, names, events or damage."""

INPUTS = {"tar": 400, "names": 400, "journal": 150}


def counted(fuzzer: Fuzzer, inputs: int) -> Callable[[], bool]:
    return lambda: fuzzer.inputs < inputs


@pytest.mark.parametrize("path", sorted(FOUND.iterdir()), ids=lambda path: path.name)
def test_what_once_broke_a_reader_does_so_no_more(path: Path, tmp_path: Path) -> None:
    target = TARGETS[path.name.partition("-")[0]](tmp_path)
    target.run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    fuzzer = Fuzzer(TARGETS[name](tmp_path), seed=1)
    fuzzer.run_while(counted(fuzzer, INPUTS[name]))
    assert not fuzzer.faults, "\n".join(fault.report for fault in fuzzer.faults.values())
    assert len(fuzzer.corpus) > len(fuzzer.target.seeds), "no input reached anything new"


class Riddle:
    """Breaks on the bytes ``BOOM``; each that is right leads to another line, as checks of a format do."""

    seeds: Sequence[bytes] = (b"....",)
    mutations: Sequence[Mutation] = ()
    files = frozenset({__file__})

    def run(self, content: bytes) -> None:
        if content[:1] == b"B":
            first = True
            if content[1:2] == b"O":
                second = first
                if content[2:3] == b"O":
                    third = second
                    if content[3:4] == b"M":
                        raise KeyError(third)


class Pause(Riddle):
    def run(self, content: bytes) -> None:
        while content == b"....":
            pass


def test_it_finds_step_by_step_what_nobody_finds_by_chance() -> None:
    fuzzer = Fuzzer(Riddle(), seed=0)
    fuzzer.run_while(lambda: not fuzzer.faults and fuzzer.inputs < 200_000)
    (kind, fault), *others = fuzzer.faults.items()
    assert not others
    assert kind.startswith("KeyError at ")
    assert fault.content.startswith(b"BOOM")


def test_the_same_seed_takes_the_same_way(tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        fuzzer = Fuzzer(TARGETS["names"](tmp_path), seed=7)
        fuzzer.run_while(counted(fuzzer, 100))
        runs.append(fuzzer.corpus)
    assert runs[0] == runs[1]


def test_an_input_that_does_not_come_to_an_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzer_module, "HANG_SECONDS", 0.1)
    fuzzer = Fuzzer(Pause(), seed=0)
    fuzzer.try_input(b"....")
    assert [kind.partition(" at ")[0] for kind in fuzzer.faults] == ["HangError"]
