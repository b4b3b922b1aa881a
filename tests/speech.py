"""Clips that really speak, and the model that understands them, for tests of everything that handles speech."""

from dataclasses import dataclass

from audioctl.data import demo_clips_path, small_model_path
from audioctl.demo import SILENT_CLIP, demo_clips

__all__ = ["SpokenClip", "silent_clip", "small_model_path", "spoken_clips"]


@dataclass(frozen=True, slots=True)
class SpokenClip:
    """An MP3 file and what it says; the small model hears exactly ``text``."""

    name: str
    text: str
    language: str
    content: bytes


def spoken_clips() -> list[SpokenClip]:
    """Every shipped clip, always in the same order."""
    return [SpokenClip(clip.file, clip.text, clip.language, clip.read()) for clip in demo_clips()]


def silent_clip() -> bytes:
    """Three seconds of digital silence as MP3."""
    return (demo_clips_path() / SILENT_CLIP).read_bytes()
