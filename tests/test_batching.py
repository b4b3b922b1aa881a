"""The next batch is made ready while the one before is at work, and batches become smaller when memory runs out."""

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioctl.engines.batching import Batcher

OUT_OF_MEMORY = RuntimeError("CUDA failed with error out of memory")
PATIENCE_SECONDS = 30.0


class Watched:
    """Numbers that become texts, in two steps that can be watched; each step takes batches of at most so many."""

    def __init__(self, largest_prepared: int = 1000, largest_worked: int = 1000) -> None:
        self.largest_prepared = largest_prepared
        self.largest_worked = largest_worked
        self.prepared: list[tuple[int, ...]] = []
        self.worked: list[tuple[int, ...]] = []
        self.changed = threading.Condition()

    def prepare(self, batch: Sequence[int]) -> list[str]:
        with self.changed:
            self.prepared.append(tuple(batch))
            self.changed.notify_all()
        if len(batch) > self.largest_prepared:
            raise OUT_OF_MEMORY
        return [str(item) for item in batch]

    def work(self, batch: Sequence[int], prepared: list[str]) -> list[str]:
        self.worked.append(tuple(batch))
        if len(batch) > self.largest_worked:
            raise OUT_OF_MEMORY
        return prepared

    def wait_until_prepared(self, *batch: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: batch in self.prepared, PATIENCE_SECONDS)


def test_the_next_batch_is_made_ready_while_one_is_at_work_and_none_behind_it() -> None:
    watched = Watched()

    def work(batch: Sequence[int], prepared: list[str]) -> list[str]:
        following = range(batch[-1] + 1, min(batch[-1] + 3, 6))
        if following:
            watched.wait_until_prepared(*following)
        assert len(watched.prepared) == min(len(watched.worked) + 2, 3)
        return watched.work(batch, prepared)

    assert Batcher(2).run(watched.prepare, work, range(6)) == list("012345")
    assert watched.worked == [(0, 1), (2, 3), (4, 5)]


def test_nothing_is_no_work() -> None:
    watched = Watched()
    assert Batcher(2).run(watched.prepare, watched.work, []) == []
    assert (watched.prepared, watched.worked) == ([], [])


@given(
    count=st.integers(0, 40),
    size=st.integers(1, 40),
    largest_prepared=st.integers(1, 40),
    largest_worked=st.integers(1, 40),
)
def test_wherever_memory_runs_out_every_item_is_done_once_and_in_order(
    count: int, size: int, largest_prepared: int, largest_worked: int
) -> None:
    watched = Watched(largest_prepared, largest_worked)
    batcher = Batcher(size)
    assert batcher.run(watched.prepare, watched.work, range(count)) == [str(number) for number in range(count)]
    largest = min(largest_prepared, largest_worked)
    done = [batch for batch in watched.worked if len(batch) <= largest]
    assert sum(done, ()) == tuple(range(count))
    assert batcher.size >= min(size, (largest + 1) // 2)


@pytest.mark.parametrize("step", ["largest_prepared", "largest_worked"])
def test_memory_that_is_not_enough_for_one_is_an_error(step: str) -> None:
    watched = Watched(**{step: 0})
    with pytest.raises(RuntimeError, match="out of memory"):
        Batcher(4).run(watched.prepare, watched.work, range(8))
    assert sum(watched.worked, ()) in ((), (0, 1, 2, 3, 0, 1, 0))


def test_what_fails_ahead_is_raised_when_the_batches_before_it_are_done() -> None:
    watched = Watched()

    def prepare(batch: Sequence[int]) -> list[str]:
        if 4 in batch:
            raise RuntimeError("no such sound")
        return watched.prepare(batch)

    with pytest.raises(RuntimeError, match="no such sound"):
        Batcher(2).run(prepare, watched.work, range(8))
    assert watched.worked == [(0, 1), (2, 3)]


@pytest.mark.parametrize("failure", [RuntimeError("device-side assert"), KeyboardInterrupt()], ids=repr)
def test_nothing_goes_on_after_an_error(failure: BaseException) -> None:
    watched = Watched()
    before = threading.enumerate()

    def work(_batch: Sequence[int], _prepared: list[str]) -> list[str]:
        watched.wait_until_prepared(2, 3)
        raise failure

    with pytest.raises(type(failure)):
        Batcher(2).run(watched.prepare, work, range(8))
    assert threading.enumerate() == before
    assert watched.prepared == [(0, 1), (2, 3)]
