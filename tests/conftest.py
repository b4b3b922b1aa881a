"""Fixtures that several test files share."""

import signal

# A shell starts background jobs deaf to SIGINT, and they hand that on. The jobs that tests start must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["configurations", "databases", "postgres", "state_folders", "uploads", "workspace"]
