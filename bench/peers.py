"""Other systems at the same work: run so many jobs that do nothing, and one job alone. Each in its best honest set-up.

Those on PostgreSQL use one with the same settings as Core's own, those on Valkey Core's own program. What is not
installed is left out: `pip install -e '.[peers]'`; arq, which asks for an older redis-py than ours and runs with it,
by `pip install --no-deps arq`; and Slurm from the system's packages (slurmctld, slurmd, slurm-client, munge).
"""

import asyncio
import contextlib
import importlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench import peer_slurm, peers_on_valkey
from bench.peer_programs import WORKERS, Measured, Peer, alone, program
from swarmsync.embedded import running

BATCH: Final = 500
#: How often it is looked whether all is done: each look at a table costs what the peer could have had.
LOOK_S: Final = 0.02


async def _queue(url: str, pending: str, submit: Callable[[int], Any], jobs: int, singles: int) -> Measured:
    """Drive a queue whose table is empty (`pending` is false) when all is done."""
    connection = await asyncpg.connect(url)

    async def drained(pause_s: float = 0.002) -> None:
        deadline = time.monotonic() + 240
        while await connection.fetchval(pending):
            if time.monotonic() > deadline:
                raise TimeoutError("the peer did not finish")
            await asyncio.sleep(pause_s)

    await submit(1)
    await drained()
    began = time.perf_counter()
    await submit(jobs)
    await drained(LOOK_S)
    took_s = time.perf_counter() - began
    alone = []
    for _ in range(singles):
        began = time.perf_counter()
        await submit(1)
        await drained()
        alone.append(time.perf_counter() - began)
    await connection.close()
    return took_s, alone


def pgqueuer(jobs: int, singles: int, directory: Path, *, workers: int = 1) -> Measured:
    async def drive(url: str) -> Measured:
        queries = importlib.import_module("pgqueuer").Queries
        connection = await asyncpg.connect(url)
        queue = queries.from_asyncpg_connection(connection)
        await queue.install()

        async def submit(count: int) -> None:
            for start in range(0, count, BATCH):
                size = min(BATCH, count - start)
                await queue.enqueue(["noop"] * size, [b"x"] * size, [0] * size)

        with contextlib.ExitStack() as programs:
            for _ in range(workers):
                programs.enter_context(program(WORKERS, "pgqueuer", url))
            measured = await _queue(url, "SELECT EXISTS (SELECT FROM pgqueuer)", submit, jobs, singles)
        await connection.close()
        return measured

    with running(directory, ("postgres",)) as plans:
        return asyncio.run(drive(plans["postgres"].url))


def procrastinate(jobs: int, singles: int, directory: Path) -> Measured:
    async def drive(url: str) -> Measured:
        app = importlib.import_module(WORKERS).procrastinate_app(url)
        pending = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

            async def submit(count: int) -> None:
                for start in range(0, count, BATCH):
                    await app.noop.batch_defer_async(*({"i": i} for i in range(start, min(count, start + BATCH))))

            with program(WORKERS, "procrastinate", url):
                return await _queue(url, pending, submit, jobs, singles)

    with running(directory, ("postgres",)) as plans:
        return asyncio.run(drive(plans["postgres"].url))


def dask(jobs: int, singles: int, _directory: Path) -> Measured:
    distributed: Any = importlib.import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster) as client:
        client.gather(client.map(_nothing, range(200), pure=False))
        began = time.perf_counter()
        client.gather(client.map(_nothing, range(jobs), pure=False))
        took_s = time.perf_counter() - began
        return took_s, alone(lambda: client.submit(_nothing, 0, pure=False).result(), singles)


def ray(jobs: int, singles: int, directory: Path) -> Measured:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    module: Any = importlib.import_module("ray")
    module.init(
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=200 << 20,
        logging_level="ERROR",
        _temp_dir=str(directory / "ray"),
    )
    noop = module.remote(_nothing)
    module.get([noop.remote(0) for _ in range(500)])
    began = time.perf_counter()
    module.get([noop.remote(0) for _ in range(jobs)])
    took_s = time.perf_counter() - began
    single = alone(lambda: module.get(noop.remote(0)), singles)
    module.shutdown()
    return took_s, single


def hyperqueue(jobs: int, singles: int, directory: Path) -> Measured:
    """An array of `true`. Its client asks once a second whether all is over: single jobs tell through a FIFO."""
    os.environ["TQDM_DISABLE"] = "1"
    module: Any = importlib.import_module("hyperqueue")
    cluster: Any = importlib.import_module("hyperqueue.cluster")

    def made(count: int, command: list[str]) -> Any:
        job = module.Job(max_fails=None)
        for _ in range(count):
            job.program(command, stdout=None, stderr=None)
        return job

    with module.LocalCluster(str(directory / "hq"), cluster.WorkerConfig(cores=2)) as there:
        client = there.client()
        client.wait_for_jobs([client.submit(made(10, ["true"]))])
        began = time.perf_counter()
        client.wait_for_jobs([client.submit(made(jobs, ["true"]))])
        took_s = time.perf_counter() - began
        fifo = directory / "fifo"
        os.mkfifo(fifo)
        bell = os.open(fifo, os.O_RDWR)

        def one() -> None:
            client.submit(made(1, ["sh", "-c", f"echo > {fifo}"]))
            os.read(bell, 1)

        return took_s, alone(one, singles)


def _nothing(_value: int) -> None:
    return None


PEERS: Final = {
    "pgqueuer": Peer(
        "queue in PostgreSQL, durable; lists and batches of 500, one worker", 60_000, pgqueuer, "pgqueuer", turns=5
    ),
    "pgqueuer, 2 workers": Peer("the same with two workers", 60_000, partial(pgqueuer, workers=2), "pgqueuer", turns=3),
    "Ray": Peer("remote functions, not durable; 2 cpus", 5_000, ray, "ray", turns=3),
    "Dask": Peer("remote functions, not durable; 2 processes", 2_000, dask, "distributed", turns=3),
    "arq": Peer("queue in Valkey, not fsynced; one worker, 100 at a time", 2_000, peers_on_valkey.arq, "arq"),
    "RQ": Peer("queue in Valkey, not fsynced; two workers that do not fork", 2_000, peers_on_valkey.rq, "rq"),
    "Celery": Peer("queue in Valkey, not fsynced; prefork 2", 2_000, peers_on_valkey.celery, "celery"),
    "HyperQueue": Peer("processes, not durable; array of `true`, 2 cores", 2_000, hyperqueue, "hyperqueue"),
    "procrastinate": Peer("queue in PostgreSQL, durable; 20 at a time", 1_500, procrastinate, "procrastinate"),
    "Slurm": Peer(
        "batch scripts, no accounting; array of `true`, one machine that claims 64 cpus",
        300,
        peer_slurm.slurm,
        programs=peer_slurm.PROGRAMS,
        turns=3,
    ),
}


def installed() -> dict[str, Peer]:
    return {name: peer for name, peer in PEERS.items() if peer.installed}
