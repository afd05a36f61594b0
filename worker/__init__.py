"""The worker: takes orders, runs containers, tells what happened. Docker is its memory.

Read `container_runtime.py` (what it needs of an engine), `reactor.py` and `steps.py` (pure: what it decides),
`assignment.py` (one container's life), then `agent.py`. `docker_runtime.py` is the real runtime.
"""

from swarmsync.compiled import prefer

prefer(__name__, __path__)
