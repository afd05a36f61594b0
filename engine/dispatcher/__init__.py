"""The only module that speaks to workers: guarded dispatch in PostgreSQL, then orders over NATS.

Read `inflight.py` (pure: which orders nobody has confirmed), then `service.py`.
"""

from swarmsync.compiled import prefer

prefer(__name__, __path__)
