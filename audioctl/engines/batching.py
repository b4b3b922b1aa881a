"""Work in batches that are as large as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_OUT_OF_MEMORY = ("out of memory", "alloc_failed", "failed to allocate", "bad_alloc")
"""In the messages of CUDA, cuBLAS, CTranslate2 on a CPU, and C++."""


class Batcher:
    """Batches of at most ``size``. When memory runs out, they are half as large from then on."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> Iterator[Result]:
        """The results of ``work`` for all items, in their order.

        Raises what ``work`` raises, running out of memory only where it does so with a single item.
        """
        done = 0
        while done < len(items):
            batch = items[done : done + self.size]
            try:
                results = work(batch)
            except (RuntimeError, MemoryError) as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                self.size = (len(batch) + 1) // 2
                continue
            yield from results
            done += len(batch)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the CPU or the GPU ran out. The libraries have no exception of their own for the GPU's."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in message for sign in _OUT_OF_MEMORY)
