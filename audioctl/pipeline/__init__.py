"""The stages in the order of the data: extract, convert, transcribe, record, upload, and ``run``, which joins them."""
