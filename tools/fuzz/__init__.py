"""A small coverage-guided fuzzer for what reads bytes that others have written: archives, names, journals."""
