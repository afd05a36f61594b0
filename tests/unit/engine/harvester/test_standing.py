"""What the Harvester writes down and tells of workers that fail, against rows that are answers."""

import pytest

from engine.harvester import settlements
from engine.harvester.registry import ImagesChanged, Limits, Probed, Registry
from engine.harvester.standing import FORGED_MAX, Standing
from swarmsync.model.job import JobRef, Settlement
from swarmsync.model.lifecycle import Eligibility, EndReason, JobState, Liveness
from swarmsync.model.resources import Need
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import Ended, Offered, Pulse, Reports, Started, WorkerChanged
from swarmsync.store import workers
from swarmsync.store.jobs import Settled


class Rig:
    def __init__(self, monkeypatch):
        self.registry = Registry(Limits(15_000, 35_000, 30_000, 5_000))
        self.registry.joined(WorkerView(1, "w1", Need()), "s", (), now_ms=0)
        self.said, self.journal, self.written = [], [], []
        self.standing = Standing(
            None, self.registry, 3, self.said.extend, lambda level, text, **_: self.journal.append((level, text))
        )
        for name in ("quarantine", "distrust", "lift", "save_images"):
            monkeypatch.setattr(workers, name, self._writes(name))
        monkeypatch.setattr(workers, "probes", self._probes)

    def _writes(self, name):
        async def write(_store, *values):
            self.written.append((name, *values))
            return True

        return write

    async def _probes(self, _store):
        return [(1, "app:1")]

    def fails(self, job_id):
        row = Settlement(
            JobRef(job_id, 1), JobState.QUEUED, "", "", None, 0, 0, 1, None, None, "ended", "lost",
            EndReason.DOCKER_ERROR, "no runc",
        )  # fmt: skip
        self.standing.ended([(row, Settled(JobRef(job_id, 1), 1, JobState.QUEUED, None))])

    def succeeds(self, job_id):
        """So quickly that its beginning was never told."""
        self.standing.ended(
            [
                (
                    settlements.succeeded(Ended(JobRef(job_id, 1), EndReason.COMPLETED, "", 9, 0, 5)),
                    Settled(JobRef(job_id, 1), 1, JobState.SUCCEEDED, None),
                )
            ]
        )

    def pulse(self, **how):
        answer, effects = self.registry.pulse("w1", Pulse("s", 1, 0, 0, (), **how), 1_000)
        self.standing.note(effects)
        return answer


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


async def test_what_ran_in_between_clears_the_worker_however_quickly_it_was_over(rig):
    for job_id in (11, 12):
        rig.fails(job_id)
    rig.succeeds(20)
    rig.fails(13)
    await rig.standing.act(0)
    assert rig.written == []


async def test_the_whole_way_into_quarantine_and_back(rig):
    for job_id in (11, 12, 13):
        rig.fails(job_id)
    await rig.standing.act(0)
    assert [entry[:2] for entry in rig.written] == [("quarantine", 1)]
    assert rig.said == [WorkerChanged(1, Liveness.READY, Eligibility.QUARANTINED)]
    assert (rig.journal[0][0], "quarantined: 3 different jobs" in rig.journal[0][1]) == ("error", True)
    assert rig.pulse().probe == ""
    await rig.standing.ask_for_probes()
    assert rig.pulse().probe == "app:1"
    assert rig.pulse(probed="no runc").probe == ""
    await rig.standing.act(0)
    await rig.standing.act(0)
    assert rig.registry.workers["w1"].view.eligibility is Eligibility.QUARANTINED
    await rig.standing.ask_for_probes()
    rig.pulse(probed="no runc")
    await rig.standing.act(0)
    assert [level for level, _ in rig.journal] == ["error", "warning"], "the same is said once"
    rig.pulse(probed="")
    await rig.standing.act(0)
    assert rig.written[-1] == ("lift", 1)
    assert rig.said[-1] == WorkerChanged(1, Liveness.READY, Eligibility.OPEN)


async def test_images_are_saved_and_told_when_they_change(rig):
    told = []
    rig.standing.joined(1)
    await rig.standing.save_images(told.append)
    assert (rig.written, told) == ([("save_images", {1: ()})], [])
    rig.pulse(images=("a:1",))
    rig.pulse(images=("a:1",))
    await rig.standing.save_images(told.append)
    await rig.standing.save_images(told.append)
    assert (rig.written[1:], told) == ([("save_images", {1: ("a:1",)})], [1])


def test_a_pulse_tells_once_what_is_new(rig):
    _, effects = rig.registry.pulse("w1", Pulse("s", 1, 0, 0, (), probed="x", images=("a",)), 1_000)
    assert effects == [Probed(1, "x"), ImagesChanged(1)]
    _, effects = rig.registry.pulse("w1", Pulse("s", 2, 0, 0, (), images=("a",)), 1_000)
    assert effects == []


async def test_a_worker_that_tells_of_others_assignments_is_cordoned_for_people_to_look(rig):
    rig.registry.offered(Offered(JobRef(7, 1), 2, Need(1_000, 1 << 20), 10_000, 1, 1))
    strange, own = Started(JobRef(7, 1), 1), Started(JobRef(8, 1), 1)
    assert rig.standing.own("w1", Reports("s", 1, (own, *[strange] * (FORGED_MAX - 1)))).reports == (own,)
    await rig.standing.act(0)
    assert rig.written == []
    assert rig.standing.own("w1", Reports("s", 11, (strange,))).reports == ()
    await rig.standing.act(0)
    await rig.standing.act(0)
    assert [entry[:2] for entry in rig.written] == [("distrust", 1)]
    assert rig.said == [WorkerChanged(1, Liveness.READY, Eligibility.CORDONED)]
    assert [level for level, _ in rig.journal] == ["warning", "warning", "error"]
    await rig.standing.ask_for_probes()
    assert rig.pulse().probe == "", "no probe lets it in again"
