"""entryc: a compiler for the entry and exit paths of kernels."""

__version__ = "0.1.0"
