"""A module without its neighbours: its real shell, and rings, a bus and a store that do what a test says."""

from pathlib import Path
from types import SimpleNamespace

from conf.settings import PulseSettings
from engine.harvester.registry import Limits
from engine.service_channels import CHANNELS, Role
from swarmsync.model.job import JobRef
from swarmsync.model.resources import Need
from swarmsync.store import queries

NEED = Need(1_000, 1 << 30)
CAPACITY = Need(8_000, 8 << 30)
LIMITS = Limits(15_000, 35_000, 30_000, 5_000)
A, B = JobRef(11, 1), JobRef(12, 1)
NAMES = {file.read_text(): file.stem for file in Path(queries.__file__).parent.glob("*.sql")}


class Store:
    """Answers per statement, used up in order and then the last one for ever; an exception is raised. No answer: none."""

    def __init__(self):
        self.answers, self.calls = {"feed": [[{"upto": "1", "id": None, "xid": None}]]}, []

    async def fetch(self, query, *values):
        name = NAMES.get(query, query.split()[0])
        self.calls.append(name)
        answers = self.answers.get(name, [[]])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    execute = fetchval = fetch

    async def stream(self, query, *values):
        for row in await self.fetch(query, *values):
            yield row

    change = fetch

    async def run(self, work):
        return await work(self)


class End:
    """Both ends of a ring, as lists."""

    def __init__(self):
        self.words, self.damaged, self.room, self.ring = [], 0, 1 << 20, self
        self.reader_epoch = 1
        self.records_put = 0

    def fill(self):
        return float(bool(self.words))

    def room_bytes(self):
        return self.room

    def offer(self, words):
        self.words += words
        return len(words)

    def offer_or_drop(self, words):
        return self.offer(words) == len(words)

    async def put(self, words, *, wakes=True):
        self.words += words

    def take(self, _frames_max=16):
        taken, self.words = self.words, []
        return taken


class Bus:
    def __init__(self):
        self.said, self.connected = [], True

    async def publish(self, subject, payload, reply=""):
        self.said.append((subject, payload))


class Rig:
    def __init__(self, make):
        self.ends = {channel.name: End() for channel in CHANNELS}
        self.store, self.bus = Store(), Bus()
        wiring = SimpleNamespace(
            readers=lambda role: {c.name: self.ends[c.name] for c in CHANNELS if c.reader is role},
            writer=self.ends.__getitem__,
            bells=dict.fromkeys(Role, SimpleNamespace(ring=lambda: None)),
            let_go=lambda: None,
        )
        self.service = make(self.store, wiring=wiring, pulse=PulseSettings(), beat=lambda: None)
        self.service._bus = self.bus

    def told(self, ring, kind):
        return [word for word in self.ends[ring].words if isinstance(word, kind)]


def worker_row(liveness="ready", worker_id=1, session="s"):
    need = {"cpus_milli": 8_000, "memory_bytes": 8 << 30, "gpus": 0, "disk_bytes": 0}
    standing = {
        "labels": "{}",
        "liveness": liveness,
        "eligibility": "open",
        "session": session,
        "runtime": "docker",
        "images": [],
    }
    return {"id": worker_id, "name": f"w{worker_id}", **need, **standing}
