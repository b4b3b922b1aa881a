"""Fixtures that several test files share, and what holds for all tests."""

import os
import signal

from hypothesis import HealthCheck, settings

from audioctl.environment import limit_linear_algebra

# As in jobs, or the last digits of what is heard here would be others. It has to come before numpy is imported.
limit_linear_algebra(os.environ)

# A shell starts background jobs deaf to SIGINT, and they hand that on. The jobs that tests start must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no fault of the code.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

pytest_plugins = [
    "browser",
    "clusters",
    "configurations",
    "container_image",
    "databases",
    "fake_submissions",
    "fault_figures",
    "postgres",
    "side_by_side",
    "state_folders",
    "workspace",
    # Behind those that they import.
    "uploads",
    "proved_days",
]
