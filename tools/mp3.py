"""MP3 files as a recorder's encoder writes them: LAME, at a constant bit rate, with its length in the first frame."""

from __future__ import annotations

import io

import av
import numpy as np
import numpy.typing as npt


def encode_mp3(samples: npt.NDArray[np.float32], sample_rate: int, bits_per_second: int) -> bytes:
    """``samples`` (mono, between -1 and 1) as an MP3 file; LAME takes the nearest bit rate that MP3 has."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=sample_rate, layout="mono")
        stream.bit_rate = bits_per_second
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = sample_rate
        for given in (frame, None):
            container.mux(stream.encode(given))
    return file.getvalue()
