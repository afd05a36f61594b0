"""The pure vocabulary: resources, specs, states, jobs, workers. No I/O, no clock, no chance.

Read `resources.py`, `spec.py`, `lifecycle.py`, `job.py`, `worker.py`.
"""
