"""The handlers, one file per family of routes: read `jobs.py`, `job.py`, `job_actions.py`, `job_logs.py` first."""
