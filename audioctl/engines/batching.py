"""Work in batches that are as large as memory allows, each made ready while the one before it is at work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")

_OUT_OF_MEMORY = ("out of memory", "alloc_failed", "failed to allocate", "bad_alloc")
"""In the messages of CUDA, cuBLAS, CTranslate2 on a CPU, and C++."""


class Batcher:
    """Batches of at most ``size``. When memory runs out, they are half as large from then on."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(
        self,
        prepare: Callable[[Sequence[Item]], Ready],
        work: Callable[[Sequence[Item], Ready], Sequence[Result]],
        items: Sequence[Item],
    ) -> list[Result]:
        """The results of ``work`` for all items, in their order. ``work`` is given each batch with what ``prepare``
        made of it, in a thread of its own and one batch ahead; nothing runs there any more when this returns or raises.

        Raises what either raises, running out of memory only where it does so with a single item.
        """
        results: list[Result] = []
        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as ahead:

            def begin(start: int) -> tuple[Sequence[Item], Future[Ready] | None]:
                batch = items[start : start + self.size]
                return batch, ahead.submit(prepare, batch) if batch else None

            batch, ready = begin(0)
            while ready is not None:
                try:
                    prepared = ready.result()
                    following = begin(len(results) + len(batch))
                    results += work(batch, prepared)
                except (RuntimeError, MemoryError) as error:
                    if len(batch) == 1 or not is_out_of_memory(error):
                        raise
                    self.size = (len(batch) + 1) // 2
                    # The thread comes to it when it is through with what it has begun in vain.
                    following = begin(len(results))
                batch, ready = following
        return results


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the CPU or the GPU ran out. The libraries have no exception of their own for the GPU's."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in message for sign in _OUT_OF_MEMORY)
