"""Which job goes to which worker, now. Pure but for `service.py`.

Read `cluster_view.py` (what is free), `backlog.py` (who waits), `refusals.py` (why not), `placement.py` (the decision).
"""
