"""Embedding a corpus as a job of shards: planned once, resumed where it stopped, and verified.

`input_files` finds the files, `scan` counts their rows, `corpus_reader` reads them by row. `plan` says what is to be
done, `folder` is where it is stored, `shard` makes one shard, `run` makes all that are missing. `merge` and `verify`
read what was made.
"""
