"""What earlier versions left on disk and in PostgreSQL, for tests/test_upgrades.py. See ``__main__``."""
