"""Keeps time as rows, not as timers: delayed jobs, retries, queue timeouts. Read `due.py` (pure), then `service.py`."""
