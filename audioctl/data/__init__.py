"""Files that come with the package: a test model that hears 72 words, clips that speak them, a page's templates."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def small_model_path() -> Path:
    """The folder of the small test model, as faster-whisper takes it."""
    return _FOLDER / "small_model"


def demo_clips_path() -> Path:
    """The folder of the demo clips and of the manifest that says what they say."""
    return _FOLDER / "demo"


def report_templates_path() -> Path:
    """The folder of the templates for the report of a day."""
    return _FOLDER / "report"
