"""Recognisers behind one small protocol."""
