"""The libraries of the ``worker`` extra, which a login node does not need."""

from audioctl.doctor import missing_worker_modules
from audioctl.errors import ConfigurationError


def require_worker() -> None:
    """Raises ConfigurationError where this installation cannot work on audio."""
    if missing := missing_worker_modules():
        raise ConfigurationError(
            f"This installation of audioctl cannot work on audio: {', '.join(missing)} missing.",
            hint="On machines that run jobs: pip install 'audioctl[worker]', or 'audioctl[gpu]' where there is a GPU.",
        )
