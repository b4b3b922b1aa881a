"""audioctl: daily archives of short recordings in, transcripts and Opus copies out."""

__version__ = "0.1.0"
