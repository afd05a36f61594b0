"""The only module that speaks to workers: guarded dispatch in PostgreSQL, then orders over NATS.

Read `inflight.py` (pure: which orders nobody has confirmed), then `service.py`.
"""
