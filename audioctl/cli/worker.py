"""The libraries of the ``worker`` extra, which a login node does not need."""

from importlib.util import find_spec

from audioctl.errors import ConfigurationError

_MODULES = ("av", "ctranslate2", "faster_whisper", "numpy", "pebble", "soundfile", "zstandard")


def require_worker() -> None:
    """Raises ConfigurationError where this installation cannot work on audio."""
    missing = [name for name in _MODULES if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"This installation of audioctl cannot work on audio: {', '.join(missing)} missing.",
            hint="On machines that run jobs: pip install 'audioctl[worker]', or 'audioctl[gpu]' where there is a GPU.",
        )
