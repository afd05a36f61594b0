"""Peers whose queue is in Redis, here in Valkey: Celery, RQ and arq."""

import asyncio
import importlib
import time
from pathlib import Path
from typing import Any, Final

from bench.peer_programs import WORKERS, Measured, alone, program, valkey

#: Seconds for all jobs of a peer.
PATIENCE_S: Final = 240
#: Submitted at a time, where a peer takes no lists.
AT_ONCE: Final = 200


def celery(jobs: int, singles: int, directory: Path) -> Measured:
    with valkey(directory) as port:
        url = f"redis://127.0.0.1:{port}/0"
        app = importlib.import_module(WORKERS).celery_app(url)
        words = ("celery", "-A", f"{WORKERS}:celery_worker", "worker", "-P", "prefork", "-c", "2", "-l", "ERROR")
        with program(*words, "--without-gossip", "--without-mingle", CELERY_URL=url, C_FORCE_ROOT="1"):
            noop = app.tasks["noop"]
            noop.delay().get(timeout=60)
            began = time.perf_counter()
            results = [noop.delay() for _ in range(jobs)]
            importlib.import_module("celery.result").ResultSet(results).join_native(timeout=PATIENCE_S)
            took_s = time.perf_counter() - began
            return took_s, alone(lambda: noop.delay().get(timeout=60), singles)


def rq(jobs: int, singles: int, directory: Path) -> Measured:
    """Its workers that fork a process per job do a quarter of this; these run the jobs themselves."""
    module: Any = importlib.import_module("rq")
    registry: Any = importlib.import_module("rq.registry")
    noop = f"{WORKERS}.noop"
    with valkey(directory) as port:
        queue = module.Queue(connection=importlib.import_module("redis").Redis(port=port))
        finished = registry.FinishedJobRegistry(queue=queue)

        def one() -> None:
            result = queue.enqueue(noop, result_ttl=600).latest_result(timeout=60)
            if result is None or result.type is not result.Type.SUCCESSFUL:
                raise RuntimeError(f"a single job did not succeed: {result}")

        words = ("rq.cli", "worker", "-q", "-w", "rq.SimpleWorker", "-u", f"redis://127.0.0.1:{port}/0")
        with program(*words), program(*words):
            one()
            before = queue.connection.zcard(finished.key)
            began = time.perf_counter()
            queue.enqueue_many([queue.prepare_data(noop, result_ttl=600) for _ in range(jobs)])
            while queue.connection.zcard(finished.key) < before + jobs:
                if time.perf_counter() - began > PATIENCE_S:
                    raise TimeoutError("the peer did not finish")
                time.sleep(0.005)
            took_s = time.perf_counter() - began
            return took_s, alone(one, singles)


def arq(jobs: int, singles: int, directory: Path) -> Measured:
    connections: Any = importlib.import_module("arq.connections")

    async def drive(port: int) -> Measured:
        pool = await connections.create_pool(connections.RedisSettings(port=port, max_connections=2 * AT_ONCE))
        await (await pool.enqueue_job("noop")).result(timeout=60, poll_delay=0.01)
        began = time.perf_counter()
        for start in range(0, jobs, AT_ONCE):
            await asyncio.gather(*(pool.enqueue_job("noop") for _ in range(min(AT_ONCE, jobs - start))))
        while await pool.zcard("arq:queue"):  # a job leaves it with its end
            if time.perf_counter() - began > PATIENCE_S:
                raise TimeoutError("the peer did not finish")
            await asyncio.sleep(0.005)
        took_s = time.perf_counter() - began
        single = []
        for _ in range(singles):
            began = time.perf_counter()
            await (await pool.enqueue_job("noop")).result(timeout=60, poll_delay=0.001)
            single.append(time.perf_counter() - began)
        await pool.aclose()
        return took_s, single

    with valkey(directory) as port, program("arq", f"{WORKERS}.ArqSettings", ARQ_PORT=str(port)):
        return asyncio.run(drive(port))
