"""The queue between two stages, and a stage that works ahead of the next."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
from workspace import PATIENCE_SECONDS, wait_until

from audioctl.pipeline.channel import AbandonedError, Channel, made_ahead


class Batch:
    """Something that can be seen to be let go."""


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def assert_ends(thread: threading.Thread) -> None:
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_items_come_out_in_order_and_then_it_ends() -> None:
    channel: Channel[int] = Channel(2)
    got: list[int] = []
    taker = in_thread(lambda: got.extend(channel))
    for number in range(100):
        channel.put(number)
    channel.close()
    assert_ends(taker)
    assert got == list(range(100))


def test_a_full_channel_holds_its_producer_back() -> None:
    channel: Channel[int] = Channel(2)
    put: list[int] = []

    def produce() -> None:
        for number in range(5):
            channel.put(number)
            put.append(number)

    producer = in_thread(produce)
    wait_until(lambda: len(put) == 2, "the channel to be full")
    producer.join(0.05)
    assert put == [0, 1]
    items = iter(channel)
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    assert_ends(producer)


def test_an_error_comes_behind_the_items_before_it() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close(ValueError("the archive is damaged"))
    items = iter(channel)
    assert next(items) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(items)


def test_abandoning_ends_a_blocked_producer() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    raised: list[BaseException] = []

    def produce() -> None:
        try:
            channel.put(2)
        except AbandonedError as error:
            raised.append(error)

    producer = in_thread(produce)
    producer.join(0.05)
    channel.abandon()
    assert_ends(producer)
    assert raised


def test_abandoning_ends_a_blocked_taker_and_drops_what_is_there() -> None:
    channel: Channel[int] = Channel(1)
    taker = in_thread(lambda: list(channel))
    channel.abandon()
    assert_ends(taker)
    full: Channel[int] = Channel(1)
    full.put(1)
    full.close(ValueError())
    full.abandon()
    assert list(full) == []


def test_what_was_taken_is_not_kept() -> None:
    channel: Channel[Batch] = Channel(1)
    items = iter(channel)
    channel.put(Batch())
    batch = next(items)
    alive = weakref.ref(batch)
    del batch
    gc.collect()
    assert alive() is None


def test_items_are_made_ahead_but_not_too_far() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    with made_ahead(numbers(), 1, "maker") as items:
        wait_until(lambda: len(made) == 2, "one to be made ahead, and one to wait")
        assert list(items) == list(range(10))


def test_the_makers_error_is_raised_where_the_items_are_used() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    used: list[int] = []

    def use() -> None:
        with made_ahead(numbers(), 1, "maker") as items:
            for number in items:
                used.append(number)

    with pytest.raises(ValueError, match="no more"):
        use()
    assert used == [1]


def test_leaving_early_ends_the_maker_and_closes_what_it_holds_open() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with made_ahead(endless(), 1, "maker") as items:
        assert next(iter(items)) == 1
    assert closed.is_set()
    assert not any(thread.name == "maker" for thread in threading.enumerate())
