"""What the pipeline asks of a recogniser. Anything that keeps this promise fits behind it."""

from collections.abc import Sequence
from typing import Protocol

from audioctl.clips import Window, WindowTranscript


class Engine(Protocol):
    """A loaded recogniser.

    ``model`` is the name that goes into each record. ``busy_seconds`` is the time it has computed so far, so that a
    reader of the progress can tell whether it ever waited.
    """

    model: str
    busy_seconds: float

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        """What was said in each window, in the order given; windows of one clip share a language.

        Windows hold at most 30 s. Silence gives no segments. Raises ModelError when the recogniser cannot go on.
        """
        ...
