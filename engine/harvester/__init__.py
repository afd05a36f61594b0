"""The only module that listens to workers: who is alive, what ended, and what that means for the job.

Read `registry.py` (pure: workers, sessions, leases), `verdicts.py` (pure: what an end means), then `service.py`.
"""

from swarmsync.compiled import prefer

prefer(__name__, __path__)
