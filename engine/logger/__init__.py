"""Stores what people read later: the engine's journal and the jobs' output. Read `sinks.py`, then `service.py`."""
