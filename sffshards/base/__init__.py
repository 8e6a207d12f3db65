"""Errors, progress, atomic files, locks, checksums, records, worker processes. Its modules are public."""
