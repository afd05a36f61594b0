"""What `bench chaos` breaks, and how: processes of a Core that the bench started itself, and nothing else.

Which fault comes next, after which pause and for how long, is drawn from the seed alone, so a run can be had again;
what it meets depends on the machine.
"""

import contextlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil
import redis
from msgspec import Struct

from bench.harness import Core, wait_until
from swarmsync.embedded import load_secrets, valkey_url

MODULES: Final = ("harvester", "scheduler", "dispatcher", "hibernator", "logger")
SERVERS: Final = ("nats", "valkey", "postgres")
_MARKS: Final[Mapping[str, str]] = {
    "postgres": "/bin/postgres -D",
    "nats": "nats-server",
    "valkey": "valkey-server",
    "api": "-m gunicorn",
    "worker": "worker.program",
}
#: scenario -> fault -> how often it is in one deal. Four deals of "all" have 200 kills of modules, 100 of the worker's
#: agent, 8 of PostgreSQL, 20 each of NATS and Valkey, and 4 wipes and flushes each: ten minutes have as many.
SCENARIOS: Final[Mapping[str, Mapping[str, int]]] = {
    "engine": {**{f"kill {name}": 10 for name in MODULES}, **{f"pause {name}": 1 for name in MODULES}},
    "workers": {"kill worker": 25, "pause worker": 1},
    "servers": {"kill postgres": 2, "kill nats": 5, "kill valkey": 5, **{f"pause {name}": 1 for name in SERVERS}},
    "wipes": {"flush valkey": 1, "wipe nats": 1},
    "core": {"kill api": 2, "kill api process": 2, "kill supervisor": 1, "restart core": 1},
}
#: What ends a process, in four turns, for runs that ask what grows: each process lives long through others' faults. A
#: module that stands still for seconds is ended, too.
TURNS: Final = (
    frozenset({"kill supervisor", "restart core", "kill api", "kill api process"}),
    frozenset({"kill nats", "wipe nats", *(f"{verb} {name}" for verb in ("kill", "pause") for name in MODULES[:2])}),
    frozenset({"kill postgres", *(f"{verb} {name}" for verb in ("kill", "pause") for name in MODULES[2:])}),
    frozenset({"kill worker", "kill valkey"}),
)
#: Streams of faults that come side by side, each with how many seconds lie between two on average. In 80 minutes they
#: are 3,000 kills of modules, 2,000 of the agent, 100 of PostgreSQL, 300 each of NATS and Valkey, 50 wipes and flushes.
HARD: Final[Mapping[str, tuple[float, Mapping[str, int]]]] = {
    "modules": (1.28, {f"kill {name}": 1 for name in MODULES}),
    "agent": (1.95, {"kill worker": 1}),
    "servers": (6.0, {"kill postgres": 1, "kill nats": 3, "kill valkey": 3}),
    "wipes": (42.0, {"flush valkey": 1, "wipe nats": 1}),
    "pauses": (20.0, {f"pause {name}": 1 for name in (*MODULES, "worker", *SERVERS)}),
    "core": (20.0, {"kill api": 2, "kill api process": 2, "kill supervisor": 1, "restart core": 1}),
}
PAUSES_S: Final = (0.5, 6.0)
BACK_S: Final = 60.0
STARTS_MAX: Final = 5


class Fault(Struct, frozen=True):
    """The next thing to break: `after_s` from the end of the last, for `for_s` where it is a pause."""

    name: str
    after_s: float
    for_s: float


def faults_of(seed: int, scenario: str, gap_s: float) -> Iterator[Fault]:
    """Return faults without end, the same for the same arguments. `scenario` "all" has those of every one.

    They are dealt like cards: after each deal all have come as often as they should.
    """
    chosen = SCENARIOS.values() if scenario == "all" else [SCENARIOS[scenario]]
    return _dealt(f"{seed} {scenario}", {name: times for each in chosen for name, times in each.items()}, gap_s)


def hard_faults_of(seed: int) -> list[Iterator[Fault]]:
    """Return the streams of `HARD`, the same for the same seed."""
    return [_dealt(f"{seed} hard {name}", faults, gap_s) for name, (gap_s, faults) in HARD.items()]


def _dealt(seed: str, deal: Mapping[str, int], gap_s: float) -> Iterator[Fault]:
    chance = random.Random(seed)
    deck = [name for name, times in deal.items() for _ in range(times)]
    while True:
        for name in chance.sample(deck, len(deck)):
            yield Fault(name, round(chance.uniform(min(0.2, gap_s), 2 * gap_s), 3), round(chance.uniform(*PAUSES_S), 3))


def has_its_turn(name: str, part: float) -> bool:
    """Say whether a fault may come when that part of the time has passed, 0 to 1, in a run that takes turns."""
    now = TURNS[min(int(part * len(TURNS)), len(TURNS) - 1)]
    return name in now or not any(name in turn for turn in TURNS)


class Breaker:
    """Breaks one Core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pause = threading.Event()
        self._verbs: Mapping[str, Callable[[str, Fault], None]] = {
            "kill": self._kill,
            "pause": self._stop,
            "flush": self._flush,
            "wipe": self._wipe,
            "restart": self._restart,
        }

    def strike(self, fault: Fault) -> None:
        """Do it; returns when the damage is done (a pause: when it is over)."""
        verb, _, target = fault.name.partition(" ")
        self._verbs[verb](target, fault)

    def process(self, name: str) -> psutil.Process:
        """Return a process of this Core by its short name. Raises LookupError while it is away."""
        if self._core.process.poll() is not None:
            raise LookupError(name)  # its number may be another's by now
        try:
            children = psutil.Process(self._core.process.pid).children()
        except psutil.NoSuchProcess:
            children = []  # all are away
        for child in children:
            try:
                line = " ".join(child.cmdline())
                comm = Path(f"/proc/{child.pid}/comm").read_text().strip()
            except (psutil.Error, OSError):
                continue
            if _MARKS[name] in line if name in _MARKS else comm == f"swarm-{name}"[:15]:
                return child
        raise LookupError(name)

    def is_there(self, name: str) -> bool:
        try:
            self.process(name)
        except LookupError:
            return False
        return True

    def _present(self, name: str) -> psutil.Process:
        """Return it once it is there: others may break things meanwhile. Raises TimeoutError."""
        found: list[psutil.Process] = []

        def is_found() -> bool:
            with contextlib.suppress(LookupError):
                found.append(self.process(name))
            return bool(found)

        wait_until(is_found, BACK_S)
        return found[0]

    def _kill(self, target: str, _fault: Fault) -> None:
        if target == "supervisor":
            self._end(signal.SIGKILL)
            self._start()
        elif target == "api process":
            children = _family(self._present("api"))[1:]
            if children:
                _send(children[0], signal.SIGKILL)
        else:
            _send(self._present(target), signal.SIGKILL)

    def _stop(self, target: str, fault: Fault) -> None:
        """SIGSTOP and, unless the supervisor has replaced it meanwhile, SIGCONT. All processes of PostgreSQL stop."""
        process = self._present(target)
        family = _family(process) if target in SERVERS else [process]
        for each in family:
            _send(each, signal.SIGSTOP)
        self._pause.wait(fault.for_s)
        for each in family:
            _send(each, signal.SIGCONT)

    def _flush(self, _target: str, _fault: Fault) -> None:
        data_dir = self._core.data_dir
        client = redis.Redis.from_url(valkey_url(data_dir, load_secrets(data_dir)), socket_timeout=5)
        try:
            client.flushall()
        except redis.RedisError:
            return  # it is away by another fault: nothing to flush
        finally:
            client.close()

    def _wipe(self, target: str, _fault: Fault) -> None:
        """Kill the server and take all that it keeps, but for its configuration and port."""
        process = self._present(target)
        _send(process, signal.SIGKILL)
        for path in (self._core.data_dir / target).iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def _restart(self, _target: str, _fault: Fault) -> None:
        self._end(signal.SIGTERM)
        self._start()

    def _start(self) -> None:
        """Start Core as an init does: again, where what it needs was broken while it began."""
        for _ in range(STARTS_MAX - 1):
            with contextlib.suppress(RuntimeError):
                self._core.start()
                return
        self._core.start()

    def _end(self, number: signal.Signals) -> None:
        """End the supervisor; its children end with it, and the jobs' processes go on."""
        family = psutil.Process(self._core.process.pid).children(recursive=False)
        os.kill(self._core.process.pid, number)
        self._core.process.wait(60)
        wait_until(lambda: not any(child.is_running() for child in family), BACK_S)


def _family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and what it started; itself alone where it is gone."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # somebody was faster
