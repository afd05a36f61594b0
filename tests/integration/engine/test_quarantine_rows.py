"""Quarantine, probes and images as rows, on a real PostgreSQL."""

import pytest

from swarmsync.model.lifecycle import Eligibility
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerOffer
from swarmsync.store import workers
from swarmsync.store.pool import Store

pytestmark = pytest.mark.integration


@pytest.fixture
async def store(servers):
    made = await Store.open(servers.engine_url, size=2, application="test")
    yield made
    await made.close()


async def eligibility(store, name):
    return next(view.eligibility for view, _ in await workers.load(store) if view.name == name)


async def test_a_worker_is_taken_out_probed_and_let_in_but_people_come_first(store):
    view = await workers.join(store, 9_001, WorkerOffer("quarantined-one", Need()), "s")
    assert await workers.quarantine(store, view.worker_id, "no runc", 12345)
    assert await eligibility(store, view.name) is Eligibility.QUARANTINED
    assert (view.worker_id, "") in await workers.probes(store)
    assert not await workers.quarantine(store, view.worker_id, "again", 12345), "it is out already"
    assert await workers.lift(store, view.worker_id)
    assert not await workers.lift(store, view.worker_id)
    await store.run(lambda c: c.execute("UPDATE workers SET eligibility = 'cordoned' WHERE id = $1", view.worker_id))
    assert not await workers.quarantine(store, view.worker_id, "no runc", 12345)
    assert await eligibility(store, view.name) is Eligibility.CORDONED


async def test_a_worker_that_lies_is_cordoned_with_the_reason_and_no_probe_is_asked_for(store):
    view = await workers.join(store, 9_004, WorkerOffer("lying-one", Need()), "s")
    assert await workers.distrust(store, view.worker_id, "it reported on 10 assignments of other workers")
    assert await eligibility(store, view.name) is Eligibility.CORDONED
    assert view.worker_id not in {worker_id for worker_id, _ in await workers.probes(store)}
    assert not await workers.distrust(store, view.worker_id, "again")


async def test_images_are_kept_per_worker(store):
    one = await workers.join(store, 9_002, WorkerOffer("images-one", Need()), "s")
    two = await workers.join(store, 9_003, WorkerOffer("images-two", Need()), "s")
    await workers.save_images(store, {one.worker_id: ("a:1", "b"), two.worker_id: ()})
    await workers.save_images(store, {two.worker_id: ("c",)})
    found = {view.name: view.images for view, _ in await workers.load(store)}
    assert (found["images-one"], found["images-two"]) == (("a:1", "b"), ("c",))
