"""One module for each dialect: the names of its fields, the form of its answers and errors."""
