"""The worker processes of peers that need one: `python -m bench.peer_workers NAME URL`. Only for `bench peers`."""

import asyncio
import importlib
import os
import sys
from datetime import timedelta
from typing import Any

import asyncpg

BATCH = 500


async def pgqueuer(url: str) -> None:
    module: Any = importlib.import_module("pgqueuer")
    queue = module.PgQueuer.from_asyncpg_connection(await asyncpg.connect(url))

    @queue.entrypoint("noop")  # type: ignore[untyped-decorator]  # the peer is optional, and so are its types
    async def noop(_job: Any) -> None:
        return None

    await queue.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=1))


def procrastinate_app(url: str) -> Any:
    module: Any = importlib.import_module("procrastinate")
    app = module.App(connector=module.PsycopgConnector(conninfo=url, max_size=8))

    async def noop(i: int) -> int:
        return i

    app.noop = app.task(name="noop", queue="q")(noop)
    return app


async def procrastinate(url: str) -> None:
    app = procrastinate_app(url)
    async with app.open_async():
        await app.run_worker_async(concurrency=20, install_signal_handlers=True, listen_notify=True)


def celery_app(url: str) -> Any:
    app = importlib.import_module("celery").Celery("bench", broker=url, backend=url)
    app.conf.update(worker_prefetch_multiplier=64, task_serializer="json", broker_pool_limit=4)
    app.task(noop, name="noop")
    return app


def noop() -> None:
    """What Celery and RQ run."""


async def arq_noop(_context: object) -> None:
    """What arq runs."""


def _arq_settings() -> Any:
    """Where the queue of this process's environment is, for `arq bench.peer_workers.ArqSettings`."""
    function: Any = importlib.import_module("arq.worker").func
    where = importlib.import_module("arq.connections").RedisSettings(port=int(os.environ["ARQ_PORT"]))
    of_arq = {"functions": [function(arq_noop, name="noop")], "redis_settings": where}
    return type("ArqSettings", (), {**of_arq, "max_jobs": 100, "poll_delay": 0.01, "keep_result": 600})


if "ARQ_PORT" in os.environ:
    ArqSettings = _arq_settings()
if "CELERY_URL" in os.environ:
    celery_worker = celery_app(os.environ["CELERY_URL"])

if __name__ == "__main__":
    asyncio.run({"pgqueuer": pgqueuer, "procrastinate": procrastinate}[sys.argv[1]](sys.argv[2]))
