"""The storage server: where it is, and how files get there, are listed and come back. All of it is rsync."""
