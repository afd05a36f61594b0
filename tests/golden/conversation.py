"""Conversations with the Scheduler's core, as text: what happens, and indented beneath it what the core decides.

    join w1 cpus=2 memory=4GiB holds=7      a worker's session begins (holds: jobs that it has, of 1 cpu each)
    submit 1-3 cpus=1 priority=50           jobs are queued (due: the same, from the Hibernator)
    end 1 w1                                an assignment ended (void: a placement came to nothing)
    stop 2                                  a job must not start any more
    worker w1 suspect                       liveness or eligibility changed (lost: the word WorkerLost)
    resync                                  hints were dropped
    tick                                    nothing happened

`at 1500` before a line sets the clock, `places 2` the room in the ring; `&` joins what happens in one turn. Text in `#`
lines is for people.
"""

from collections.abc import Iterator
from typing import assert_never

from engine.scheduler.placement import Scheduler
from swarmsync.model.job import Waiting
from swarmsync.model.lifecycle import Eligibility, Liveness
from swarmsync.model.resources import Need, format_cpus, format_size, parse_size
from swarmsync.model.spec import shape_of
from swarmsync.model.worker import WorkerView
from swarmsync.protocol.messages import (
    Answer,
    AssignmentEnded,
    JobsDue,
    JobsSubmitted,
    LineWaits,
    Place,
    PlacementVoid,
    PlanVoid,
    Resync,
    Revoke,
    StopWanted,
    ToDispatcher,
    ToScheduler,
    WorkerChanged,
    WorkerJoined,
    WorkerLost,
)

INDENT = "    "


class Conversation:
    def __init__(self) -> None:
        self._core = Scheduler()
        self._shapes: dict[int, str] = {}
        self._now_ms = 0

    def say(self, line: str) -> Iterator[str]:
        """Yield the effects of one line, each as text."""
        words = line.split()
        places_max = 100
        while words[0] in ("at", "places"):
            if words[0] == "at":
                self._now_ms = int(words[1])
            else:
                places_max = int(words[1])
            words = words[2:]
        events = [event for part in " ".join(words).split(" & ") for event in self._events(part.split())]
        for effect in self._core.handle(events, now_ms=self._now_ms, places_max=places_max):
            yield self._effect(effect)
        if self._core.wants_resync:
            self._core.wants_resync = False
            yield "wants to read PostgreSQL again"

    def _events(self, words: list[str]) -> Iterator[ToScheduler]:
        verb, *rest = words
        plain = [word for word in rest if "=" not in word]
        given = dict(word.split("=") for word in rest if "=" in word)
        match verb:
            case "submit" | "due":
                jobs = tuple(self._waiting(job, given) for job in _numbers(plain[0]))
                yield JobsSubmitted(jobs) if verb == "submit" else JobsDue(jobs)
            case "join":
                holds = tuple((job, Need()) for job in _numbers(given.get("holds", "")))
                yield WorkerJoined(WorkerView(_worker(plain[0]), plain[0], _need(given)), holds)
            case "worker":
                machine = self._core.cluster.machines[_worker(plain[0])]
                liveness, eligibility = machine.view.liveness, machine.view.eligibility
                if plain[1] in set(Liveness):
                    liveness = Liveness(plain[1])
                else:
                    eligibility = Eligibility(plain[1])
                yield WorkerChanged(_worker(plain[0]), liveness, eligibility)
            case "lost":
                yield WorkerLost(_worker(plain[0]))
            case "end":
                yield AssignmentEnded(int(plain[0]), _worker(plain[1]))
            case "void":
                yield PlacementVoid(int(plain[0]), _worker(plain[1]))
            case "stop":
                yield StopWanted(tuple(_numbers(plain[0])))
            case "resync":
                yield Resync()
            case "tick":
                return
            case _:
                raise ValueError(f"{verb!r} is no word of these conversations")

    def _waiting(self, job: int, given: dict[str, str]) -> Waiting:
        need = _need(given)
        shape = shape_of(need)
        gpus = f" + {need.gpus} gpus" if need.gpus else ""
        self._shapes[shape] = f"{format_cpus(need.cpus_milli)} cpus + {format_size(need.memory_bytes)}{gpus}"
        return Waiting(job, shape, need, int(given.get("priority", "50")), 1)

    def _effect(self, effect: ToDispatcher) -> str:
        match effect:
            case Place(job_id, worker_id):
                return f"place {job_id} on w{worker_id}"
            case Revoke(job_id):
                return f"revoke {job_id}"
            case LineWaits(shape, None):
                return f"jobs of {self._shapes[shape]} wait no more"
            case LineWaits(shape, reason, message, jobs):
                return f"jobs of {self._shapes[shape]} wait ({jobs}): {reason}: {message}"
            case Answer(reply, text):
                return f"answer {reply}: {text.decode()}"
            case PlanVoid():
                return "void what was placed"
            case _:
                assert_never(effect)


def play(text: str) -> str:
    """Return the conversation with the effects that the core has today; only the effects' lines are made anew."""
    told = Conversation()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(INDENT):
            continue
        lines.append(line)
        if line and not line.startswith("#"):
            lines += [INDENT + effect for effect in told.say(line)]
    return "\n".join(lines) + "\n"


def _numbers(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1) if text else range(0)


def _worker(name: str) -> int:
    return int(name.removeprefix("w"))


def _need(given: dict[str, str]) -> Need:
    memory = parse_size(given.get("memory", "512MiB"))
    return Need(round(float(given.get("cpus", "1")) * 1000), memory, int(given.get("gpus", "0")))
