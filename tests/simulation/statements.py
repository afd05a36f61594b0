"""The guarded statements of `swarmsync/store/queries` as Python: each runs at one instant, as a commit does.

Every method is named for its .sql file and says the same; what is only shown to people is left out.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import heappop, nsmallest
from itertools import islice

import msgspec
from rows import FINALS, PLACEDS, Broken, Record, Row
from tables import Ledger

from swarmsync.model.job import JobRef, Settlement, Waiting
from swarmsync.model.lifecycle import Actor, Eligibility, EndReason, JobState, Liveness, sources
from swarmsync.model.worker import WorkerOffer, WorkerView
from swarmsync.protocol.messages import Progress
from swarmsync.store.jobs import Cursor, Dispatched, FeedEntry, Settled

STEPS = ("offered", "accepted", "pulling", "creating", "running", "stopping", "collecting")


class Tables(Ledger):
    """The statements of the engine."""

    # ------------------------------------------------ Dispatcher

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def dispatch(self, places: Sequence[tuple[int, int, int]], epoch: int) -> list[Dispatched]:
        guard = sources(JobState.STARTING, by=Actor.DISPATCHER)
        won = []
        for job_id, worker_id, seq in sorted(places):
            row = self.jobs.get(job_id)
            if row is None or row.state not in guard:
                continue
            self.write(
                row, Actor.DISPATCHER, state="starting", reason="", fence=row.fence + 1, worker_id=worker_id,
                assignment_state="offered", orders_epoch=epoch, orders_seq=seq, started_at=None,
            )  # fmt: skip
            self.on_dispatch(row)
            won.append(_dispatched(row))
        return won

    def resend(self, orders: Sequence[tuple[JobRef, int]], epoch: int) -> list[Dispatched]:
        still = []
        for ref, seq in sorted(orders):
            row = self.jobs[ref.job_id]
            if row.fence == ref.fence and row.state in ("starting", "stopping") and row.assignment_state == "offered":
                row.orders_epoch, row.orders_seq = epoch, seq
                still.append(_dispatched(row))
        return still

    def offered(self) -> list[Row]:
        return [
            msgspec.structs.replace(row)
            for _, row in sorted(self.placed.items())
            if row.state in ("starting", "stopping") and row.assignment_state == "offered"
        ]

    def stops(self, job_ids: Sequence[int]) -> list[Row]:
        return [msgspec.structs.replace(self.jobs[i]) for i in job_ids if self.jobs[i].state == "stopping"]

    def save_line_waits(self) -> None:
        """Sentences for people."""

    def specs(self) -> None:
        """Documents; the simulation's orders carry them already."""

    def store_output(self) -> None:
        """Logger: output is not what this is about."""

    # ------------------------------------------------ Harvester

    def feed_start(self) -> Cursor:
        return Cursor(str(self.xmin()), -1)

    def feed(self, cursor: Cursor, limit: int, known: Sequence[int] = ()) -> tuple[Cursor, list[FeedEntry]]:
        first = bisect_left(self._wakes, (int(cursor.xid), cursor.seq + 1, -1))
        xmin, entries, more = self.xmin(), [], False
        for xid, seq, job_id in islice(self._wakes, first, None):
            if xid >= xmin or more:
                break
            if xid in known:
                continue
            cursor, more = Cursor(str(xid), seq), len(entries) + 1 == limit
            row = self.jobs[job_id]
            waits = row.state == "queued" and not row.is_array
            waiting = row.waiting if waits else None
            entries.append(
                FeedEntry(row.id, JobState(row.state), waiting, row.array_id, row.stop_reason, row.stop_kill)
            )
        return (cursor if more else Cursor(str(xmin), -1)), entries

    def started(self, rows: Sequence[tuple[JobRef, int]]) -> list[int]:
        guard = [state for state in sources(JobState.RUNNING, by=Actor.HARVESTER) if state in PLACEDS]
        won, arrays = [], []
        for ref, ago_ms in sorted(rows):
            row = self.jobs[ref.job_id]
            if row.fence != ref.fence or row.state not in ("starting", "stopping") or row.started_at is not None:
                continue
            step = "stopping" if row.state == "stopping" else "running"
            state = "running" if row.state in guard else row.state
            self.write(row, Actor.HARVESTER, state=state, assignment_state=step, started_at=self._now_ms() - ago_ms)
            won.append(row.id)
            array = self.jobs.get(row.array_id) if row.array_id is not None else None
            if array is not None and array.state == "queued":
                self.write(array, Actor.HARVESTER, state="running", started_at=self._now_ms())
                arrays.append(array.id)
        return won + arrays

    def progress(self, steps: Sequence[Progress]) -> None:
        for step in sorted(steps, key=lambda entry: entry.ref):
            row = self.jobs[step.ref.job_id]
            if row.fence == step.ref.fence and row.assignment_state is not None:
                row.assignment_state = STEPS[max(STEPS.index(step.state), STEPS.index(row.assignment_state))]

    def ends(self, refs: Sequence[JobRef]) -> dict[JobRef, Row]:
        found = {}
        for ref in refs:
            row = self.jobs.get(ref.job_id)
            if row is not None and row.fence == ref.fence and row.state in PLACEDS:
                found[ref] = msgspec.structs.replace(row)
        return found

    def settle(self, batch: Sequence[Settlement]) -> list[Settled]:
        guard = [state for state in sources(JobState.FAILED, by=Actor.HARVESTER) if state in PLACEDS]
        won, xid, now_ms = [], self.next_xid(), self._now_ms()
        for entry in sorted(batch, key=lambda settlement: settlement.ref):
            row = self.jobs[entry.ref.job_id]
            if not self.may_settle(row, entry, guard):
                continue
            before, again = row.state, entry.state in ("queued", "scheduled")
            started_at = row.started_at
            if started_at is None and entry.ran_ms is not None:
                started_at = now_ms - entry.ran_ms
            self.write(
                row, Actor.HARVESTER, state=entry.state.value, reason=str(entry.reason), message=entry.message,
                finished_at=None if again else now_ms,
                run_at=now_ms + entry.delay_ms if entry.state == "scheduled" else row.run_at,
                started_at=started_at, assignment_state=None, exit_code=entry.exit_code,
                tries=row.tries + entry.tries, crashes=row.crashes + entry.crashes,
                stop_reason=None if again else row.stop_reason,
            )  # fmt: skip
            if entry.ref in self.records:
                raise Broken(f"assignment {entry.ref} was recorded twice")
            self.records[entry.ref] = Record(
                entry.ref, row.worker_id or 0, entry.assignment_state, entry.outcome, entry.assignment_reason,
                entry.exit_code,
            )  # fmt: skip
            self.tell(xid, row)
            self.on_settle(row, entry, before)
            waited_for = self.waited_for([row.id])
            won.append(Settled(entry.ref, row.worker_id or 0, JobState(row.state), row.array_id, waited_for))
        return won

    @staticmethod
    def may_settle(row: Row, entry: Settlement, guard: Sequence[str]) -> bool:
        orders = (row.orders_epoch, row.orders_seq)
        if entry.state in ("queued", "scheduled") and (row.stop_reason or "").startswith("CancelledBy"):
            return False
        return row.fence == entry.ref.fence and row.state in guard and entry.orders in (None, orders)

    def supersede(self, refs: Sequence[JobRef]) -> None:
        for ref in refs:
            record = self.records.get(ref)
            if record is not None and record.state == "lost":
                record.superseded += 1

    def refresh(self, job_ids: Iterable[int]) -> dict[int, Row]:
        return {job_id: msgspec.structs.replace(self.jobs[job_id]) for job_id in job_ids}

    def finish_arrays(self, array_ids: Sequence[int]) -> list[int]:
        guard, won, xid = sources(JobState.FAILED, by=Actor.HARVESTER), [], self.next_xid()
        for array_id in sorted(array_ids):
            array, members = self.jobs[array_id], self.members[array_id]
            if array.finished_at is not None or any(member.finished_at is None for member in members):
                continue
            if array.state in guard:
                states = [member.state for member in members]
                verdict = "succeeded" if set(states) == {"succeeded"} else "cancelled"
                verdict = next((state for state in ("failed", "timed_out") if state in states), verdict)
                code = max((member.exit_code for member in members if member.exit_code is not None), default=None)
                self.write(array, Actor.HARVESTER, state=verdict, finished_at=self._now_ms(), exit_code=code)
                self.tell(xid, array)
                won.append(array.id)
        return won

    def open_arrays(self) -> list[int]:
        return [
            array_id
            for array_id, members in self.members.items()
            if self.jobs[array_id].finished_at is None and all(member.state in FINALS for member in members)
        ]

    # ------------------------------------------------ what waits for what

    def renote(self, job_ids: Sequence[int]) -> None:
        for job_id in job_ids:
            own = [need for (child_id, _), need in self.needs.items() if child_id == job_id]
            if self.jobs[job_id].state == "blocked" and all(need.met for need in own):
                for need in own:
                    need.met = None

    def overlooked(self, job_ids: Sequence[int] | None) -> list[int]:
        return sorted({
            parent_id
            for (child_id, parent_id), need in self.needs.items()
            if need.met is None and (job_ids is None or child_id in job_ids) and self.jobs[parent_id].finished_at
        })  # fmt: skip

    def waited_for(self, parent_ids: Sequence[int]) -> bool:
        return any(need.met is None and parent_id in parent_ids for (_, parent_id), need in self.needs.items())

    def release(self, parent_ids: Sequence[int]) -> list[tuple[int, str]]:
        never: dict[int, bool] = {}
        for (child_id, parent_id), need in self.needs.items():
            state = self.jobs[parent_id].state
            if parent_id in parent_ids and need.met is None and state in FINALS:
                wanted = {"succeeded": ("succeeded",), "failed": ("failed", "timed_out")}.get(need.condition, FINALS)
                need.met = state in wanted
                never[child_id] = never.get(child_id, False) or not need.met
        won, xid, cancellable = [], self.next_xid(), sources(JobState.CANCELLED, by=Actor.HARVESTER)
        for child_id, hopeless in sorted(never.items()):
            row, own = self.jobs[child_id], [need for (job_id, _), need in self.needs.items() if job_id == child_id]
            if hopeless and row.state in cancellable:
                reason = EndReason.DEPENDENCY_FAILED.value
                self.write(row, Actor.HARVESTER, state="cancelled", reason=reason, finished_at=self._now_ms(),
                           stop_reason=reason)  # fmt: skip
            elif row.state == "blocked" and all(need.met for need in own):
                later = row.run_at is not None and row.run_at > self._now_ms()
                self.write(row, Actor.HARVESTER, state="scheduled" if later else "queued")
            else:
                continue
            self.tell(xid, row)
            won.append((row.id, row.state))
        return won

    # ------------------------------------------------ workers

    def join_worker(self, offer: WorkerOffer, session: str) -> WorkerView:
        known = self.workers.get(offer.name)
        if known is None:
            self._worker_ids += 1
        worker_id = known[0].worker_id if known else self._worker_ids
        eligibility = known[0].eligibility if known else Eligibility.OPEN
        view = WorkerView(worker_id, offer.name, offer.capacity, {}, Liveness.READY, eligibility)
        self.workers[offer.name] = (view, session)
        return msgspec.structs.replace(view)

    def load_workers(self) -> list[tuple[WorkerView, str]]:
        return [(msgspec.structs.replace(view), session) for view, session in self.workers.values()]

    def save_liveness(self, changes: dict[int, Liveness]) -> None:
        for view, _ in self.workers.values():
            view.liveness = changes.get(view.worker_id, view.liveness)

    # ------------------------------------------------ Scheduler

    def load_placed(self) -> list[Row]:
        return [msgspec.structs.replace(row) for _, row in sorted(self.placed.items())]

    def load_queued(self, limit: int) -> list[Waiting]:
        return [self.jobs[job_id].waiting for job_id in nsmallest(limit, self.queued)]

    # ------------------------------------------------ Hibernator

    def due(self, limit: int) -> list[Waiting]:
        won, xid = [], self.next_xid()
        while self.timetable() == 0 and len(won) < limit:
            row = self.jobs[heappop(self._runs)[1]]
            self.write(row, Actor.HIBERNATOR, state="queued", reason="", message="")
            self.tell(xid, row)
            if not row.is_array:
                won.append(row.waiting)
        return won

    def timetable(self) -> int | None:
        while self._runs and not self._is_scheduled(*self._runs[0]):
            heappop(self._runs)
        return max(0, self._runs[0][0] - self._now_ms()) if self._runs else None

    def _is_scheduled(self, run_at: int, job_id: int) -> bool:
        return self.jobs[job_id].state == "scheduled" and self.jobs[job_id].run_at == run_at

    def expire(self, limit: int) -> list[int]:
        guard, won, xid, now_ms = sources(JobState.EXPIRED, by=Actor.HIBERNATOR), [], self.next_xid(), self._now_ms()
        for row in sorted(self._expiring.values(), key=lambda row: row.is_array):  # in SQL all expire at once
            begun = any(member.fence > 0 for member in self.members.get(row.id, ()))
            if row.fence > 0 or begun or row.finished_at is not None:
                del self._expiring[row.id]
            elif row.expires_at is not None and row.expires_at <= now_ms and row.state in guard and len(won) < limit:
                self.write(row, Actor.HIBERNATOR, state="expired", reason="QueueTimeout", finished_at=now_ms)
                self.tell(xid, row)
                won.append(row.id)
        return won


def _dispatched(row: Row) -> Dispatched:
    return Dispatched(
        JobRef(row.id, row.fence), row.worker_id or 0, row.orders_seq, "", row.id, row.need, row.grace_ms,
        row.array_index, row.array_size, row.user_id,
    )  # fmt: skip
