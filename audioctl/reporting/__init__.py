"""The report of a day: what its journals, its runs and the ledger add up to, and the page that shows it."""
