"""``audioctl`` whose recogniser takes the process with it: poisoned_job.py ORDINAL ARGUMENTS...

It dies as CTranslate2 dies when CUDA fails under it (SIGABRT), whenever it is given the clip of that ordinal.
"""

import os
import sys
from collections.abc import Sequence

from audioctl.cli import main
from audioctl.clips import Window, WindowTranscript
from audioctl.engines.whisper import WhisperEngine

_transcribe = WhisperEngine.transcribe


def transcribe(engine: WhisperEngine, windows: Sequence[Window]) -> list[WindowTranscript]:
    if any(window.clip == poison for window in windows):
        os.abort()
    return _transcribe(engine, windows)


if __name__ == "__main__":
    poison = int(sys.argv.pop(1))
    WhisperEngine.transcribe = transcribe  # type: ignore[method-assign, assignment]
    main()
