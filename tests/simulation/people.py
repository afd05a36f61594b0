"""Users: what they submit, and what they do to their jobs. Their statements mirror submit.sql, stop.sql and move.sql."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from machine import Behaviour
from msgspec import Struct
from programs import Life, Program
from rows import Row

from swarmsync.errors import Unavailable
from swarmsync.model.fields import Duration, Size
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import Actor, EndReason, JobState, sources
from swarmsync.model.spec import JobSpec, Resources, Retry, Stop, need, shape_of
from swarmsync.protocol.codec import encode_json
from swarmsync.protocol.messages import By, Changed

if TYPE_CHECKING:
    from statements import Tables
    from world import World

MIB = 1 << 20
#: How containers behave, and how often: the names say what one attempt does.
KINDS = {"good": 55, "flaky": 14, "bad": 6, "oom": 4, "endless": 8, "stubborn": 6, "slow_pull": 4, "no_image": 3}
#: Of more jobs than these at a time the feed shall tell, as of those whose hints are lost.
DESCRIBED_MAX = 8
_CANCELLABLE = sources(JobState.CANCELLED, by=Actor.API)
_STOPPABLE = sources(JobState.STOPPING, by=Actor.API)


class Made(Struct):
    """A job as its user remembers it."""

    job_id: int
    kind: str
    spec: JobSpec
    stop_asked: bool = False  # a cancel was committed


class People:
    def __init__(self, world: World) -> None:
        self.world = world
        self.timeline = world.timeline
        self.life = Life(world.timeline, "people")
        self.connection = world.network.connect("people", self.life)
        self.made: dict[int, Made] = {}
        self.submitting = False
        self._next_id = 0

    # ------------------------------------------------ submitting

    def spec(self, kind: str) -> JobSpec:
        chance = self.timeline.chance
        grace_ms = chance.choice((500, 2_000, 2_000, 10_000, 20_000))
        retry = Retry(
            attempts=chance.choice((1, 1, 2, 3)),
            backoff=chance.choice(("none", "fixed", "exponential")),
            delay=Duration(chance.choice((200, 2_000))),
        )
        timeout = chance.choice((None, None, 8_000)) if kind != "endless" else chance.choice((None, 6_000))
        return JobSpec(
            image="image",
            resources=Resources(
                cpus=chance.choice((0.5, 1.0, 1.0, 2.0)), memory=Size(chance.choice((256, 1024)) * MIB)
            ),
            stop=Stop(grace=Duration(grace_ms)),
            retry=retry,
            timeout=None if timeout is None else Duration(timeout),
            queue_timeout=Duration(20_000) if chance.random() < 0.08 else None,
            priority=chance.choice((50, 50, 50, 70)),
        )

    def submit_some(self, jobs: int) -> Program:
        """Submit over time, in requests of one job, a few, or an array."""
        self.submitting = True
        chance, left = self.timeline.chance, jobs
        while left > 0:
            size = min(left, chance.choice((1, 1, 1, 2, 5, 12)))
            left -= size
            kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
            run_at = self.timeline.now_ms + chance.randrange(15_000) if chance.random() < 0.15 else None
            rows = self.rows(kind, size, run_at, array=size > 2 and chance.random() < 0.5)
            self.life.run(self.submit_rows(rows))
            yield round(chance.expovariate(jobs / self.world.settings.submit_ms)) * size
        self.submitting = False

    def rows(self, kind: str, size: int, run_at: int | None = None, *, array: bool = False) -> list[Row]:
        spec = JobSpec(image="image") if self.world.settings.simple else self.spec(kind)
        return self.rows_of(spec, kind, size, run_at, array=array)

    def rows_of(
        self, spec: JobSpec, kind: str, size: int, run_at: int | None = None, *, array: bool = False
    ) -> list[Row]:
        wanted, document = need(spec), encode_json(spec).decode()
        expires_at = None if spec.queue_timeout is None else (run_at or self.timeline.now_ms) + int(spec.queue_timeout)
        rows = []
        for index in range(-1 if array else 0, size):
            self._next_id += 1
            row = Row(self._next_id, shape_of(wanted), wanted, document, int(spec.stop.grace), priority=spec.priority)
            row.run_at, row.expires_at = run_at, expires_at
            row.state = "queued" if run_at is None else "scheduled"
            if array:
                row.array_size = size
            if array and index >= 0:
                row.array_id, row.array_index = rows[0].id, index
            rows.append(row)
            self.remember(row, spec, kind)
        return rows

    def remember(self, row: Row, spec: JobSpec, kind: str = "good") -> None:
        self.made[row.id] = Made(row.id, "array" if row.is_array else kind, spec)

    def submit_rows(self, rows: list[Row]) -> Program:
        """One transaction, open for a while; the same idempotency key until it is answered."""
        tables = self.world.store.tables
        hint = Changed()
        while True:
            try:
                yield from self.world.store.call(self.life, "specs")
                xid = tables.begin()
                yield round(self.timeline.chance.random() ** 4 * 300)
                if rows[0].id not in tables.jobs:
                    hint = hint_of(rows, xid)
                    for row in rows:
                        tables.insert(row, xid)
                        self.timeline.note("submit", row.id, row.state)
                tables.end(xid)
                yield from self.world.store.call(self.life, "specs")
            except Unavailable:
                yield 500
                continue
            break
        self.hint(hint)

    # ------------------------------------------------ changing their minds

    def meddle(self, until_ms: int) -> Program:
        """Cancel, kill, hold and release now and then."""
        chance = self.timeline.chance
        while True:
            yield round(chance.expovariate(1 / self.world.settings.meddle_ms))
            if self.timeline.now_ms >= until_ms:
                return
            unfinished = list(self.world.store.tables.unfinished)
            if unfinished and not self.world.store.away:
                job_id = unfinished[chance.randrange(len(unfinished))]
                action = chance.choices((self.stop, self.kill, self.hold, self.release), (4, 2, 1, 3))[0]
                action(job_id)
                if chance.random() < 0.8:
                    self.hint()

    def hint(self, word: Changed | None = None) -> None:
        """Mirrors `EventsHub._tell`: nobody minds when it fails."""
        with contextlib.suppress(Unavailable):
            self.world.network.publish(self.connection, "changed", word or Changed())

    def stop(self, job_id: int, *, kill: bool = False) -> None:
        """Mirrors `actions.stop`: stop.sql on the job or on all members, then the array's own row."""
        tables = self.world.store.tables
        row, xid = tables.jobs[job_id], tables.next_xid()
        if row.finished_at is not None:
            return
        for target in tables.members[job_id] if row.is_array else [row]:
            self._stop_one(tables, target, xid, kill=kill)
        if row.is_array:
            self._stop_array(tables, row, xid)

    def kill(self, job_id: int) -> None:
        self.stop(job_id, kill=True)

    def _stop_one(self, tables: Tables, row: Row, xid: int, *, kill: bool) -> None:
        reason = row.stop_reason or EndReason.CANCELLED_BY_USER.value
        if row.state in _CANCELLABLE:
            tables.write(row, Actor.API, state="cancelled", reason=reason, finished_at=self.timeline.now_ms,
                         stop_reason=reason, stop_kill=row.stop_kill or kill)  # fmt: skip
        elif row.state in _STOPPABLE:
            tables.write(row, Actor.API, state="stopping", reason=reason, stop_reason=reason,
                         stop_kill=row.stop_kill or kill)  # fmt: skip
        elif row.state == "stopping" and kill and not row.stop_kill:
            row.stop_kill = True
        else:
            return
        self.made[row.id].stop_asked = True
        self.timeline.note("cancel", row.id, row.state, kill)
        tables.tell(xid, row)

    def _stop_array(self, tables: Tables, array: Row, xid: int) -> None:
        reason = EndReason.CANCELLED_BY_USER.value
        if {member.state for member in tables.members[array.id]} == {"cancelled"}:
            self._stop_one(tables, array, xid, kill=False)
        elif array.state != "stopping":
            state = "stopping" if array.state == "running" else array.state
            tables.write(array, Actor.API, state=state, stop_reason=array.stop_reason or reason)

    def hold(self, job_id: int) -> None:
        self._move(job_id, sources(JobState.HELD, by=Actor.API), "held")

    def release(self, job_id: int) -> None:
        self._move(job_id, ["held"], "queued")

    def _move(self, job_id: int, guard: list[str], state: str) -> None:
        """Mirrors `actions._move`: the job, or the members and then the array if all of them went."""
        tables = self.world.store.tables
        row, xid = tables.jobs[job_id], tables.next_xid()
        targets = tables.members[job_id] if row.is_array else [row]
        moved = [self._move_one(tables, target, guard, state, xid) for target in targets]
        if row.is_array and all(moved):
            self._move_one(tables, row, guard, state, xid)

    def _move_one(self, tables: Tables, row: Row, guard: list[str], state: str, xid: int) -> bool:
        if row.state not in guard:
            return False
        later = state == "queued" and row.run_at is not None and row.run_at > self.timeline.now_ms
        tables.write(row, Actor.API, state="scheduled" if later else state)
        tables.tell(xid, row)
        self.timeline.note("move", row.id, row.state)
        return True

    def finish(self) -> Program:
        """For the end of a seed: nothing is held any more, and what would never end is cancelled."""
        tables = self.world.store.tables
        while True:
            for row in list(tables.unfinished.values()):
                if row.state == "held":
                    self._move_one(tables, row, ["held"], "queued", tables.next_xid())
                made = self.made[row.id]
                if made.kind == "endless" and made.spec.timeout is None:
                    self.stop(row.id)
            yield 2_000


def behaviour_of(made: Made, ref: JobRef, seed: int, run_ms: int) -> Behaviour:
    """The same attempt behaves the same whatever else happens."""
    roll = (ref.job_id * 2_654_435_761 + ref.fence * 40_503 + seed * 97) % 1_000 / 1_000
    long_ms = round(run_ms * (0.1 + 1.8 * roll))
    match made.kind:
        case "good":
            return Behaviour(long_ms)
        case "flaky":
            return Behaviour(long_ms, exit_code=0 if roll < 0.5 else 3)
        case "bad":
            return Behaviour(long_ms, exit_code=1)
        case "oom":
            return Behaviour(long_ms, exit_code=137, oom=True)
        case "endless":
            return Behaviour(None, react_ms=200 if roll < 0.5 else None)
        case "stubborn":
            return Behaviour(long_ms * 2, react_ms=None)
        case "slow_pull":
            return Behaviour(long_ms, pull_ms=2_500)
        case "no_image":
            return Behaviour(problem=EndReason.IMAGE_NOT_FOUND)
    raise AssertionError(made.kind)


def hint_of(rows: list[Row], xid: int) -> Changed:
    """Mirrors `EventsHub.tell_submitted`, which describes more."""
    described = len(rows) <= DESCRIBED_MAX and all(row.state == "queued" and row.array_size is None for row in rows)
    fresh = tuple(row.waiting for row in rows) if described else ()
    return Changed(tuple(row.id for row in rows), By.SUBMISSION, fresh=fresh, xid=xid)
