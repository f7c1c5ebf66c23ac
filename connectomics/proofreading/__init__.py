"""Merges and splits as reversible values over fragments, and the queue that says where to look next."""
