"""What was done: journals (the truth, one an archive) and the ledger (a view of them all)."""
