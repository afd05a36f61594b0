"""Fixtures of all tests: the embedded servers, once per session."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from msgspec import Struct

from swarmsync import compiled, embedded
from swarmsync.store.pool import as_login

#: How long an example takes is no matter here: beside other work 0.2 s pass without anything being wrong.
hypothesis.settings.register_profile(
    "beside other work", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("beside other work")


#: Whether this process looks at compiled modules: it must (`must`, where this Python may), or does where they are compiled
#: (`may`). What tests start has them in any case, where they are.
COMPILED = os.environ.get("SWARMSYNC_TEST_COMPILED", "")
if not COMPILED:
    compiled.leave_out()
elif COMPILED == "must" and compiled.directory() is not None and len(compiled.in_use()) < len(compiled.MODULES):
    pytest.exit("The hot modules are not compiled as they are now. `make compiled` says why.", returncode=3)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that put something of their own in place of what is compiled are for the interpreted modules."""
    left_out = [item for item in items if COMPILED and item.get_closest_marker("interpreted")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


class Servers(Struct):
    """Where the embedded servers of this test session answer, and as whom."""

    data_dir: Path
    secrets: dict[str, str]
    database_url: str
    engine_url: str
    api_url: str
    nats_url: str
    nats_api_url: str
    nats_worker_url: str
    redis_url: str


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    import asyncio

    from swarmsync.store.migrate import migrate

    data_dir = tmp_path_factory.mktemp("servers")
    with embedded.running(data_dir) as plans:
        secrets = embedded.load_secrets(data_dir)
        owner = plans["postgres"].url
        asyncio.run(migrate(owner, secrets))
        nats = plans["nats"].url
        yield Servers(
            data_dir=data_dir,
            secrets=secrets,
            database_url=owner,
            engine_url=as_login(owner, "swarmsync_engine", secrets["swarmsync_engine"]),
            api_url=as_login(owner, "swarmsync_api", secrets["swarmsync_api"]),
            nats_url=nats,
            nats_api_url=as_login(nats, "api", secrets["nats_api"]),
            nats_worker_url=as_login(nats, "worker", secrets["nats_worker"]),
            redis_url=plans["valkey"].url,
        )
