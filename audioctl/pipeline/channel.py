"""What joins two stages: a bounded queue that either side can end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class AbandonedError(Exception):
    """The other side is gone; there is nobody to work for."""


class Channel(Generic[Item]):
    """Holds at most ``capacity`` items, so that a slow stage holds the one before it back.

    (queue.Queue has no way to say "no more" to a blocked producer before Python 3.13.)
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._abandoned = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> None:
        """Waits for room. Raises AbandonedError when nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or len(self._items) < self._capacity)
            if self._abandoned:
                raise AbandonedError
            self._items.append(item)
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will be put; what is there can still be taken, and then ``error`` is raised there."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()

    def abandon(self) -> None:
        """Ends both sides: puts fail, iteration stops, what is there is dropped."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed or self._abandoned)
                if not self._items:
                    if self._error is not None and not self._abandoned:
                        raise self._error
                    return
                taken = [self._items.popleft()]
                self._changed.notify_all()
            yield taken.pop()  # a batch is large: it must not live on here while the next one is waited for


@contextmanager
def made_ahead(items: Iterable[Item], capacity: int, thread_name: str) -> Iterator[Iterable[Item]]:
    """The same items, made by a thread of their own, up to ``capacity`` of them before they are asked for.

    An error there is raised here, behind the items that came before it. Leaving the block ends the thread.
    """
    channel: Channel[Item] = Channel(capacity)

    def make() -> None:
        try:
            for _ in map(channel.put, items):
                pass  # nor live on in a variable here while the next one is made
        except AbandonedError:
            pass  # whoever left the block knows why
        except BaseException as error:
            channel.close(error)
        else:
            channel.close()

    thread = threading.Thread(target=make, name=thread_name)
    thread.start()
    try:
        yield channel
    finally:
        channel.abandon()
        thread.join()
