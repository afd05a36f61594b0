"""Forward-only schema changes, run in the order of their names by `store/migrate.py`."""
