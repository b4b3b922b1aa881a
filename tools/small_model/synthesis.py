"""Speech from espeak-ng, with the time of each word.

libespeak-ng is called through ctypes because its command line gives the sound and not the times of the words.
Needs ``libespeak-ng.so.1`` (Debian: ``apt install espeak-ng``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono sound between -1 and 1."""

MODEL_SAMPLE_RATE = 16_000
_PRONUNCIATION = {"xray": "x-ray"}
_QUIETEST_SOUND = 0.005
"""Share of the peak (-46 dB) below which the end of an utterance counts as silence."""

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_POSITION_IN_CHARACTERS = 1
_TEXT_IS_UTF8 = 1
_EVENT_END_OF_LIST = 0
_EVENT_WORD = 1
_PARAMETER_RATE, _PARAMETER_VOLUME, _PARAMETER_PITCH, _PARAMETER_RANGE, _PARAMETER_WORD_GAP = 1, 2, 3, 4, 7
_OK = 0


@dataclass(frozen=True, slots=True)
class Voice:
    """How espeak-ng speaks. Pitch, range and volume are its own scales, where 50, 50 and 100 are normal."""

    name: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    word_gap: int
    """Pause between words in units of 10 ms."""
    volume: int = 100


@dataclass(frozen=True, slots=True)
class Speech:
    """Words as sound at 16 kHz; times in seconds from the beginning of ``samples``."""

    samples: Samples
    word_starts: list[float]
    word_ends: list[float]


class _Event(ctypes.Structure):
    """espeak_EVENT: ``text_position`` counts characters from 1, ``audio_position`` milliseconds."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("number", ctypes.c_uint64),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Synthesizer:
    """One espeak-ng. The library keeps its state in the process, so make one and use it from one thread."""

    def __init__(self) -> None:
        """Raises OSError when libespeak-ng is missing or has no voices."""
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self.sample_rate: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, None, 0)
        if self.sample_rate <= 0:
            raise OSError("espeak-ng does not start; are its voices installed (apt install espeak-ng-data)?")
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._word_events: list[tuple[int, float]] = []
        # libespeak-ng holds only a pointer to the callback: it must live as long as this object.
        self._callback = _Callback(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice_name: str | None = None

    def speak(self, words: Sequence[str], voice: Voice) -> Speech | None:
        """The words as sound with their times, or None where espeak-ng ran two words into one."""
        sound, starts = self.sound(words, voice)
        if starts is None:
            return None
        samples = _resample(sound, self.sample_rate)
        loud = np.flatnonzero(np.abs(samples) > _QUIETEST_SOUND * np.abs(samples).max())
        first_loud_seconds = float(loud[0] / MODEL_SAMPLE_RATE)
        last_loud_seconds = float((loud[-1] + 1) / MODEL_SAMPLE_RATE)
        starts[0] = max(starts[0], first_loud_seconds)
        return Speech(samples, starts, [*starts[1:], last_loud_seconds])

    def sound(self, words: Sequence[str], voice: Voice) -> tuple[Samples, list[float] | None]:
        """The words as sound at ``sample_rate`` and their starts in seconds (None: not one for each word)."""
        self._use(voice)
        character_positions = []
        text = ""
        for word in words:
            character_positions.append(len(text))
            text += _PRONUNCIATION.get(word, word) + " "
        self._pieces.clear()
        self._word_events.clear()
        content = text.encode() + b"\0"
        self._library.espeak_Synth(content, len(content), 0, _POSITION_IN_CHARACTERS, 0, _TEXT_IS_UTF8, None, None)
        sound: Samples = np.concatenate(self._pieces).astype(np.float32) / np.float32(32768)
        starts: dict[int, float] = {}
        for position, seconds in self._word_events:
            word_place = max((i for i, start in enumerate(character_positions) if start < position), default=0)
            starts.setdefault(word_place, seconds)
        if len(starts) != len(words):
            return sound, None
        return sound, [starts[place] for place in range(len(words))]

    def _use(self, voice: Voice) -> None:
        # Loading a voice takes longer than a short phrase does.
        if voice.name != self._voice_name:
            if self._library.espeak_SetVoiceByName(voice.name.encode()) != _OK:
                raise ValueError(f"espeak-ng has no voice {voice.name!r}")
            self._voice_name = voice.name
        for parameter, value in (
            (_PARAMETER_RATE, voice.words_per_minute),
            (_PARAMETER_VOLUME, voice.volume),
            (_PARAMETER_PITCH, voice.pitch),
            (_PARAMETER_RANGE, voice.pitch_range),
            (_PARAMETER_WORD_GAP, voice.word_gap),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)

    def _collect(self, pcm: Any, count: int, events: Any) -> int:
        if pcm and count > 0:
            self._pieces.append(np.ctypeslib.as_array(pcm, (count,)).copy())
        place = 0
        while events[place].type != _EVENT_END_OF_LIST:
            if events[place].type == _EVENT_WORD:
                self._word_events.append((events[place].text_position, events[place].audio_position / 1000))
            place += 1
        return _OK


def _resample(sound: Samples, sample_rate: int) -> Samples:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=MODEL_SAMPLE_RATE)
    frame = av.AudioFrame.from_ndarray(sound[np.newaxis], format="flt", layout="mono")
    frame.sample_rate = sample_rate
    pieces = [part.to_ndarray()[0] for given in (frame, None) for part in resampler.resample(given)]
    return np.concatenate(pieces).astype(np.float32, copy=False)
