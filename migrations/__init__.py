"""The database's schema, step by step. `python -m migrations` takes every step that is missing."""
