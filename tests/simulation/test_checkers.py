"""Bugs on purpose: a checker that never fails proves nothing, so each of these must be found within a few seeds."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from people import KINDS
from rows import Broken
from settings import SimSettings
from statements import Tables
from world import run_seed

from engine.harvester import settlements, verdicts
from engine.harvester.registry import Registry
from engine.scheduler.cluster_view import Machine
from engine.scheduler.placement import Scheduler
from swarmsync.model.job import JobRef
from swarmsync.protocol.messages import Resync
from worker import reactor
from worker.reactor import Reactor

SEEDS_MAX = 60
#: Mean milliseconds between two faults of a kind.
ROUGH = {"partition": 6_000, "kill_agent": 5_000, "lag": 3_000, "kill_module": 6_000, "store_away": 15_000}
Plant = Callable[[pytest.MonkeyPatch], None]


def settle_without_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tables, "may_settle", staticmethod(lambda row, _entry, guard: row.state in guard))


def settle_what_is_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tables, "may_settle", staticmethod(lambda row, entry, _guard: row.fence == entry.ref.fence))


def late_report_accepted(patch: pytest.MonkeyPatch) -> None:
    """The verdict of any earlier attempt counts as one of the present attempt."""
    settle = Tables.settle

    def accept(self: Tables, batch: Any) -> Any:
        newest = {entry.ref: JobRef(entry.ref.job_id, self.jobs[entry.ref.job_id].fence) for entry in batch}
        return settle(self, [msgspec.structs.replace(entry, ref=newest[entry.ref]) for entry in batch])

    patch.setattr(Tables, "settle", accept)


def lease_without_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reactor, "_silence_max", lambda _lease_ms, _terms: 10**9)


def lease_without_margin(patch: pytest.MonkeyPatch) -> None:
    """The grace is forgotten: the stop begins when the lease ends, and the container outlives it."""
    patch.setattr(reactor, "_silence_max", lambda lease_ms, _terms: lease_ms)


def requeue_without_proof(patch: pytest.MonkeyPatch) -> None:
    """What a pulse does not hold is taken for gone, although its order may still arrive."""
    reconcile = Registry._reconcile

    def hasty(self: Registry, known: Any, holds: Any) -> Any:
        known.orders = (10**6, 0)
        return reconcile(self, known, holds)

    patch.setattr(Registry, "_reconcile", hasty)


def room_freed_twice(patch: pytest.MonkeyPatch) -> None:
    def release(self: Machine, job_id: int) -> bool:
        need = self.holds.get(job_id)
        if need is None:
            return False
        self.cpus_milli += need.cpus_milli
        return True

    patch.setattr(Machine, "release", release)


def resend_without_number(patch: pytest.MonkeyPatch) -> None:
    """Orders go out again in newer messages, and neither the row nor the Harvester is told."""
    resend = Tables.resend

    def forgetful(self: Tables, orders: Any, epoch: int) -> Any:
        before = {
            ref.job_id: (self.jobs[ref.job_id].orders_epoch, self.jobs[ref.job_id].orders_seq) for ref, _ in orders
        }
        still = resend(self, orders, epoch)
        for job_id, numbers in before.items():
            self.jobs[job_id].orders_epoch, self.jobs[job_id].orders_seq = numbers
        return still

    def offered(self: Registry, said: Any) -> None:
        if said.ref.job_id not in self.live or self.live[said.ref.job_id].ref.fence < said.ref.fence:
            known(self, said)

    known = Registry.offered
    patch.setattr(Tables, "resend", forgetful)
    patch.setattr(Registry, "offered", offered)


def resync_ignored(patch: pytest.MonkeyPatch) -> None:
    take = Scheduler._take
    deaf = lambda self, event, *rest: None if isinstance(event, Resync) else take(self, event, *rest)  # noqa: E731
    patch.setattr(Scheduler, "_take", deaf)


def user_pays_for_lost_workers(patch: pytest.MonkeyPatch) -> None:
    judge_gone = settlements.judge_gone
    dear = lambda *values: msgspec.structs.replace(judge_gone(*values), tries=1, crashes=0)  # noqa: E731
    patch.setattr(settlements, "judge_gone", dear)


def orders_of_any_age(patch: pytest.MonkeyPatch) -> None:
    """The worker does not compare message numbers."""
    take = Reactor.take

    def careless(self: Reactor, message: Any, terms: Any, now_ms: int) -> Any:
        self.high = (0, 0)
        return take(self, message, terms, now_ms)

    patch.setattr(Reactor, "take", careless)


def orders_begun_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reactor, "_is_over", lambda _self, _ref: False)


def room_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reactor, "_used", property(lambda self: reactor.NOTHING, lambda self, value: None), raising=False)


def cancel_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdicts, "CANCELLED", frozenset())


def open_transactions_skipped(patch: pytest.MonkeyPatch) -> None:
    """The feed does not wait for older transactions: their events come behind its cursor."""
    patch.setattr(Tables, "xmin", lambda self: 10**9)


LONG = SimSettings(workers=3, jobs=20, run_ms=60_000, submit_ms=20_000, faults_ms=150_000, meddle_ms=0)
LONGER = SimSettings(jobs=60, run_ms=60_000, submit_ms=20_000, faults_ms=300_000, meddle_ms=0)
FULL = SimSettings(workers=2, jobs=60, run_ms=10_000, submit_ms=20_000, meddle_ms=0)
SHORT = SimSettings(workers=2, jobs=60, run_ms=100, submit_ms=60_000)
PLANTS: dict[Plant, tuple[SimSettings | None, dict[str, float] | None, dict[str, float]]] = {
    settle_without_fence: (LONG, {"pause_agent": 8_000}, {}),
    settle_what_is_over: (None, ROUGH, {}),
    late_report_accepted: (LONG, {"pause_agent": 8_000}, {}),
    lease_without_end: (LONG, {"partition": 15_000}, {}),
    lease_without_margin: (LONGER, {"partition": 15_000}, {}),
    requeue_without_proof: (None, ROUGH, {}),
    room_freed_twice: (None, {}, {}),
    resend_without_number: (SHORT, {"module_lag": 2_000, "lag": 4_000}, {"loss": 0.1}),
    resync_ignored: (SimSettings(jobs=150, slots=2, submit_ms=5_000), {}, {}),
    user_pays_for_lost_workers: (LONG, {"kill_agent": 3_000, "partition": 15_000}, {}),
    orders_of_any_age: (SHORT, {"module_lag": 1_000, "kill_agent": 1_500}, {}),
    orders_begun_again: (SHORT, {"module_lag": 2_000, "lag": 4_000}, {}),
    room_not_counted: (FULL, {"kill_module": 1_500, "kill_agent": 6_000}, {"silence": 0.05}),
    cancel_forgotten: (None, ROUGH, {}),
    open_transactions_skipped: (None, {}, {}),
}


@pytest.mark.interpreted
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_simulation_finds(plant, monkeypatch):
    settings, kinds, rates = PLANTS[plant]
    with monkeypatch.context() as patch:
        plant(patch)
        for seed in range(1, SEEDS_MAX + 1):
            try:
                run_seed(seed, settings, kinds, **rates)
            except Broken:
                break
        else:
            pytest.fail(f"not found within {SEEDS_MAX} seeds")
    run_seed(seed, settings, kinds, **rates)  # and without the bug the same world is fine


def test_every_kind_of_job_is_submitted():
    worlds = [run_seed(seed, SimSettings(workers=8, jobs=400), {}) for seed in (3, 4)]
    assert {made.kind for world in worlds for made in world.people.made.values()} >= KINDS.keys()
