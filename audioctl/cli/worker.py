"""The libraries of the ``worker`` extra, which a login node does not need."""

from importlib.util import find_spec

from audioctl.errors import ConfigurationError

WORKER_MODULES = ("av", "ctranslate2", "faster_whisper", "numpy", "soundfile", "zstandard")
"""What the ``worker`` extra brings."""


def require_worker() -> None:
    """Raises ConfigurationError where this installation cannot work on audio."""
    if missing := [name for name in WORKER_MODULES if find_spec(name) is None]:
        raise ConfigurationError(
            f"This installation of audioctl cannot work on audio: {', '.join(missing)} missing.",
            hint="On machines that run jobs: pip install 'audioctl[worker]', or 'audioctl[gpu]' where there is a GPU.",
        )
