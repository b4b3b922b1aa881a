"""Where jobs run. One protocol (``base``); a home each: ``local``."""
