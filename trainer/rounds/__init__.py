"""The rounds of a line: a pure stage table and the worker that performs the stages, one file each."""
