"""Embedding a corpus as a job of shards: planned once, resumed where it stopped, and verified.

`corpus` reads the texts of one or many files by row, `plan` says what is to be done, `folder` is where it is stored,
`shard` makes one shard, `run` makes all that are missing. `merge` and `verify` read what was made.
"""
