"""``audioctl doctor``: checking everything a job needs, before a job needs it."""
