"""Shards: their format, how a build is written, and how it is read. Usable without torch."""
