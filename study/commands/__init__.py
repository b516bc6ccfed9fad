"""The commands of `study`, a module for each occasion; imported by `study/cli.py`."""
