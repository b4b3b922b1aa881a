"""Fixtures that several test files share, and what holds for all tests."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# A shell starts background jobs deaf to SIGINT, and they hand that on. The jobs that tests start must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no fault of the code.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Here, because pytest asks for options before it looks into folders."""
    parser.addoption("--fault-seeds", default="0:200", metavar="FIRST:END", help="seeds of tests/faults")
    parser.addoption("--fault-lanes", type=int, default=2, help="trials of tests/faults side by side")


pytest_plugins = [
    "clusters",
    "configurations",
    "container_image",
    "databases",
    "postgres",
    "state_folders",
    "uploads",
    "workspace",
    "proved_days",  # behind those that it imports
]
