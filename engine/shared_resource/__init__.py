"""What engine processes share without a server between them: memory, positions in it, and a bell.

Read `layout` (the picture of every byte), then `segment` (named memory under /dev/shm), `frames` (the bytes of one
batch), `ring` (one writer hands batches to one reader), `doorbell` (how a sleeping reader is woken) and `stats_page`
(named counters that any process may read). Nothing here knows a job, a worker or a module.
"""

from swarmsync.compiled import prefer

prefer(__name__, __path__)
