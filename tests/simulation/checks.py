"""What must hold at every moment, and what must hold in the end. Each check keeps a ledger of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine import Container, Machine
from msgspec import Struct
from rows import FINALS, Broken, Row

from engine.harvester.verdicts import INFRASTRUCTURE
from swarmsync.model.job import JobRef, Settlement
from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import Seen

if TYPE_CHECKING:
    from world import World

#: Failures that are a job's own, which its containers really must have had.
OWN = frozenset({EndReason.EXIT_CODE, EndReason.SIGNAL, EndReason.OOM_KILLED, EndReason.TIMEOUT})


class Overlap(Struct, frozen=True):
    """Two containers of one job, alive at once; the older one is the one that should be gone."""

    machine: Machine
    older: Container
    newer: Container


class Checks:
    def __init__(self, world: World) -> None:
        self.world = world
        self.timeline = world.timeline
        self.finals: dict[int, str] = {}
        self.assigned: dict[JobRef, int] = {}
        self.fences: dict[int, int] = {}
        self.own_failures: dict[int, int] = {}
        self.live: dict[int, list[tuple[Machine, Container]]] = {}
        self.overlaps: list[Overlap] = []
        self.overlaps_seen = 0
        self.bounced: dict[str, int] = {}  # why assignments came to nothing, and how often
        tables = world.store.tables
        tables.on_dispatch, tables.on_settle, tables.on_final = self.dispatched, self.settled, self.ended

    # ------------------------------------------------ the rows

    def dispatched(self, row: Row) -> None:
        if self.world.people.made[row.id].stop_asked:
            raise Broken(f"job {row.id} was cancelled, and is given to a worker again")
        if row.fence != self.fences.get(row.id, 0) + 1:
            raise Broken(f"job {row.id} was given fence {row.fence} after {self.fences.get(row.id, 0)}")
        self.fences[row.id] = row.fence
        self.assigned[row.ref] = row.worker_id or 0

    def settled(self, row: Row, entry: Settlement, before: str) -> None:
        """A verdict was accepted: it must speak of the newest assignment, and of what truly happened there."""
        if entry.ref.fence != self.fences[row.id]:
            raise Broken(f"a verdict of {entry.ref} was accepted although fence {self.fences[row.id]} exists")
        if row.worker_id != self.assigned[entry.ref]:
            raise Broken(f"a verdict of {entry.ref} counts for worker {row.worker_id}, it ran elsewhere")
        if entry.crashes and entry.tries:
            raise Broken(f"the end of {entry.ref} was charged to the user and to the infrastructure")
        if entry.tries and entry.assignment_reason in INFRASTRUCTURE:
            raise Broken(f"{entry.assignment_reason} of {entry.ref} cost one of the user's attempts")
        if entry.assignment_state == "ended" and entry.assignment_reason == EndReason.COMPLETED:
            container = self.world.history.get(entry.ref)
            if container is None or container.exit is None or container.exit.exit_code != 0:
                raise Broken(f"{entry.ref} succeeded by verdict, but no container of it did")
        if before == "stopping" and row.state in ("queued", "scheduled"):
            raise Broken(f"job {row.id} was being stopped, and waits again: {entry.assignment_reason}")
        if entry.orders is not None and entry.crashes == 0:
            self.bounced[entry.assignment_message] = self.bounced.get(entry.assignment_message, 0) + 1

    def ended(self, row: Row) -> None:
        if row.id in self.finals:
            raise Broken(f"job {row.id} ended as {self.finals[row.id]} and again as {row.state}")
        self.finals[row.id] = row.state
        made = self.world.people.made[row.id]
        own = self.own_failures.get(row.id, 0)
        if row.tries > own + (made.kind == "no_image"):
            raise Broken(f"job {row.id} was charged {row.tries} failures of its own and had {own}")
        if row.reason == EndReason.CRASH_LIMIT and row.crashes < self.world.settings.crash_limit:
            raise Broken(f"job {row.id} failed for {row.crashes} crashes")
        if row.tries > made.spec.retry.attempts or row.crashes > self.world.settings.crash_limit:
            raise Broken(f"job {row.id} had {row.tries} failures and {row.crashes} crashes: more than its budget")
        if row.state == "expired" and row.fence > 0:
            raise Broken(f"job {row.id} expired although it was given to a worker {row.fence} times")
        if row.reason == EndReason.ATTEMPTS_EXHAUSTED and row.tries < made.spec.retry.attempts:
            raise Broken(f"job {row.id} failed after {row.tries} of {made.spec.retry.attempts} attempts")
        if row.is_array and any(m.finished_at is None for m in self.world.store.tables.members[row.id]):
            raise Broken(f"array {row.id} is {row.state} although members go on")

    def acknowledged(self, ref: JobRef) -> None:
        """A worker may forget an end: it must be in the rows by now."""
        if ref not in self.world.store.tables.records:
            raise Broken(f"the end of {ref} was acknowledged, and is in no row")

    # ------------------------------------------------ the machines

    def began(self, machine: Machine, container: Container) -> None:
        ref = container.ref
        self.world.history[ref] = container
        if not machine.used.fits(machine.capacity):
            raise Broken(f"{machine.name} runs {machine.used} and has {machine.capacity}")
        if self.assigned.get(ref) != self.world.worker_id(machine.name):
            raise Broken(f"{machine.name} runs {ref}, which was not given to it")
        stood_still = self.world.agents[machine.name].stood_still  # perhaps between taking the order and this
        if ref in self.world.store.tables.records and not (stood_still and self.excused(machine, container)):
            raise Broken(f"{machine.name} begins {ref}, which is over")
        for other_machine, other in self.live.get(ref.job_id, []):
            older = (other_machine, other) if other.ref.fence < ref.fence else (machine, container)
            self.overlaps.append(Overlap(*older, container if older[1] is other else other))
            self.overlaps_seen += 1
        self.live.setdefault(ref.job_id, []).append((machine, container))

    def exited(self, machine: Machine, container: Container) -> None:
        self.live[container.ref.job_id].remove((machine, container))
        exit_, timeout_ms = container.exit, container.terms.timeout_ms
        ran_ms = self.timeline.now_ms - (container.started_ms or 0)
        timed_out = timeout_ms is not None and ran_ms >= timeout_ms
        if exit_ is not None and (exit_.exit_code != 0 or container.wanted_dead or timed_out):
            self.own_failures[container.ref.job_id] = self.own_failures.get(container.ref.job_id, 0) + 1

    def excused(self, machine: Machine, container: Container) -> bool:
        """An agent that is dead or stands still cannot stop anything; back again it has the lease's time to do so."""
        agent = self.world.agents.get(machine.name)
        if agent is None or agent.life.paused:
            return True
        settings = self.world.settings
        lease_ms = max(settings.lease_ms, 2 * container.terms.grace_ms + 10_000) + settings.lease_slack_ms
        well_ms = self.timeline.now_ms - agent.well_since_ms
        return agent.troubled and well_ms <= lease_ms

    def look(self) -> None:
        """After every event."""
        if not self.overlaps:
            return
        for overlap in list(self.overlaps):
            if Seen.EXITED in (overlap.older.seen, overlap.newer.seen):
                self.overlaps.remove(overlap)
            elif not self.excused(overlap.machine, overlap.older):
                raise Broken(
                    f"{overlap.older.ref} still runs on {overlap.machine.name}, which is well, beside {overlap.newer.ref}"
                )

    # ------------------------------------------------ in the end

    def leaks(self) -> list[str]:
        """What is left over although everything has ended; empty when all is as it was before the first job."""
        world, found = self.world, []
        tables, core = world.store.tables, world.core
        found += [f"job {row.id} is {row.state}: {row.message}" for row in tables.unfinished.values()]
        cluster = core.scheduler.scheduler.cluster
        for machine in cluster.machines.values():
            if machine.free != machine.view.capacity:
                found.append(f"the Scheduler holds {machine.holds} on {machine.view.name}")
        if cluster.placed or len(core.scheduler.scheduler.backlog):
            found.append(f"the Scheduler still has {cluster.placed}, {len(core.scheduler.scheduler.backlog)} waiting")
        stops = [job_id for job_id in core.harvester.registry._stops if not tables.jobs[job_id].is_array]
        if stops:
            found.append(f"the Registry keeps stops of {stops}")
        if core.harvester.registry.live:
            found.append(f"the Registry still has {core.harvester.registry.live}")
        if len(core.dispatcher.inflight):
            found.append(f"{len(core.dispatcher.inflight)} orders in flight")
        for agent in world.agents.values():
            if agent.reactor.held or agent.reactor._used != agent.reactor._used.minus(agent.reactor._used):
                found.append(f"{agent.session} holds {agent.reactor.held}, uses {agent.reactor._used}")
            if agent.reactor.unacknowledged(agent.monotonic_ms())[1]:
                found.append(f"{agent.session} has reports")
            if agent.machine.containers:
                found.append(f"{agent.machine.name} has containers {list(agent.machine.containers)}")
        found += [f"job {job_id} has no end" for job_id in world.people.made if job_id not in self.finals]
        return found

    def final_states(self) -> dict[str, int]:
        counts = dict.fromkeys(sorted(FINALS), 0)
        for state in self.finals.values():
            counts[state] += 1
        return counts
