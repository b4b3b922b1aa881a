"""Sound: what a file is, its samples, the speech in them, and their Opus copy. Nothing here knows of archives."""
