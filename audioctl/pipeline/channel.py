"""What joins two stages: a bounded queue that either side can end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
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

    def put(self, item: Item) -> None:
        """Waits for room. Raises AbandonedError when nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or len(self._items) < self._capacity)
            if self._abandoned:
                raise AbandonedError
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will be put; what is there can still be taken."""
        with self._changed:
            self._closed = True
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
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
