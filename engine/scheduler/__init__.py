"""Which job goes to which worker, now. Pure but for `service.py`.

Read `cluster_view.py` (what is free), `backlog.py` (who waits), `limits.py` (what else keeps them), `books.py` (all of
it together), `ranking.py` and `keeping.py` (who goes first, and who may pass), `placement.py` and `decision.py` (the
decision), `why.py` (the reasons).
"""

from swarmsync.compiled import prefer

prefer(__name__, __path__)
