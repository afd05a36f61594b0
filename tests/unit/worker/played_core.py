"""Core as a worker meets it, in this process: it orders, judges ends with the real verdicts, and stores output."""

from hashlib import sha256
from types import SimpleNamespace

from engine.harvester import settlements
from swarmsync.errors import Unavailable
from swarmsync.model.job import JobRef
from swarmsync.model.lifecycle import FINAL, EndReason
from swarmsync.model.spec import need
from swarmsync.protocol import codec
from swarmsync.protocol.messages import (
    AskLogEnds,
    CheckOutput,
    Ended,
    Join,
    LogsAck,
    Orders,
    OutputChecked,
    Pulse,
    PulseAnswer,
    Reports,
    ReportsAck,
    RunJob,
    Started,
    StopJob,
    Welcome,
)
from tests.unit.worker.failing import REFUSED, SILENT, Failing

PULSE_MS = 10


def kind_of(subject):
    """What a message is called, beside the calls of the runtime."""
    return f"say {subject.rpartition('.')[2]}"


class Job:
    """A row. `specs` are what its attempts run, one after the other by failures of its own; the last one for ever."""

    def __init__(self, job_id, specs):
        self.id, self.specs = job_id, specs
        self.fence = self.tries = self.crashes = 0
        self.state, self.stop, self.end, self.ends = "queued", None, None, []

    @property
    def ref(self):
        return JobRef(self.id, self.fence)

    @property
    def spec(self):
        return self.specs[min(self.tries, len(self.specs) - 1)]

    def __getitem__(self, name):
        """As the Harvester reads the row."""
        wanted = need(self.spec)
        return {
            "stop_reason": self.stop, "tries": self.tries, "crashes": self.crashes,
            "document": codec.encode_json(self.spec).decode(), "cpus_milli": wanted.cpus_milli,
            "memory_bytes": wanted.memory_bytes, "gpus": 0, "disk_bytes": 0,
        }[name]  # fmt: skip


class Core(Failing):
    """A bus whose other end is this: `fates` may make messages fail, by the last part of their subject."""

    def __init__(self):
        super().__init__()
        self.jobs, self.stored, self.checked = {}, {}, 0
        self._handler, self._seq = None, 0

    # ------------------------------------------------ what people do

    def submit(self, *specs):
        job = self.jobs[len(self.jobs) + 1] = Job(len(self.jobs) + 1, specs)
        return job

    def cancel(self, job):
        if job.state == "queued":
            job.state = "cancelled"
        elif job.state not in FINAL:
            job.state, job.stop = "stopping", EndReason.CANCELLED_BY_USER
        self.changed.set()

    def output(self, job, stream=1):
        return self.stored.get((job.ref, stream), b"")

    @property
    def all_ended(self):
        return all(job.state in FINAL for job in self.jobs.values())

    async def place(self):
        """Order what is queued, in one message."""
        if self._handler is None:
            return
        runs, specs = [], {}
        for job in self.jobs.values():
            if job.state == "queued":
                job.fence, job.state = job.fence + 1, "starting"
                specs[job.id] = codec.encode_json(job.spec)
                runs.append(RunJob(job.ref, job.id, f"job-{job.id}", need(job.spec).memory_bytes))
        if runs:
            self._seq += 1
            payload = codec.encode(Orders(1, self._seq, tuple(runs), specs))
            await self._handler(SimpleNamespace(data=payload))

    def forget_worker(self):
        """Its process is gone."""
        self._handler = None

    # ------------------------------------------------ a bus for the worker

    async def subscribe(self, _subject, handler):
        self._handler = handler
        await self.place()

    async def publish(self, subject, payload):
        fate = self.fate(kind_of(subject))
        codec.decode_receipt(payload)
        if fate in (REFUSED, SILENT):
            raise Unavailable("NATS does not take messages")

    async def request(self, subject, payload, _timeout_s):
        async def answered():
            return codec.encode(self._answer(codec.decode_from_worker(payload)))

        answer = await self.happen(kind_of(subject), answered, Unavailable("no answer"))
        await self.place()
        return answer

    def _answer(self, word):
        match word:
            case Join():
                held = {holding.ref for holding in word.holds}
                for job in self.jobs.values():
                    if job.state in ("starting", "running", "stopping") and job.ref not in held:
                        job.state = "queued" if job.stop is None else "cancelled"  # passed by: it never began there
                return Welcome(1, PULSE_MS, 30_000, 1, self._seq, self._stops())
            case Pulse():
                return PulseAnswer(stop=self._stops())
            case Reports():
                for report in word.reports:
                    self._hear(report)
                return ReportsAck(word.first_seq + len(word.reports) - 1)
            case CheckOutput():
                stored = self.stored.get((word.ref, word.stream), b"")
                self.checked += 1
                return OutputChecked(sha256(stored).hexdigest() == word.total.sha256)
        return self._store(word)

    def _stops(self):
        return tuple(StopJob(job.ref, reason=job.stop) for job in self.jobs.values() if job.state == "stopping")

    def _hear(self, report):
        job = self.jobs[report.ref.job_id]
        if report.ref != job.ref or job.state not in ("starting", "running", "stopping"):
            return
        if isinstance(report, Started) and job.state == "starting":
            job.state = "running"
        if isinstance(report, Ended):
            good = report.reason is EndReason.COMPLETED
            verdict = settlements.succeeded(report) if good else settlements.judge(report, job, 5, 0.5)
            job.tries, job.crashes = job.tries + verdict.tries, job.crashes + verdict.crashes
            job.state = "queued" if verdict.state == "scheduled" else str(verdict.state)
            job.end = report
            job.ends.append((report.ref.fence, report.reason, report.message))

    def _store(self, word):
        if isinstance(word, AskLogEnds):
            keys = [key for key in self.stored if key[0] in word.refs]
        else:
            keys = [(chunk.ref, chunk.stream) for chunk in word.chunks]
            for key, chunk in zip(keys, word.chunks, strict=True):
                there = self.stored.get(key, b"")
                if chunk.offset <= len(there):
                    self.stored[key] = there[: chunk.offset] + chunk.data + there[chunk.offset + len(chunk.data) :]
        return LogsAck(tuple((*key, len(self.stored.get(key, b""))) for key in keys))
