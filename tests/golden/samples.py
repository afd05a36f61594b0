"""One example of every word of `protocol/messages.py`, with every field filled in."""

from msgspec import Struct

from swarmsync.model.job import JobRef, Waiting
from swarmsync.model.lifecycle import AssignmentState, Eligibility, EndReason, Liveness, WaitReason
from swarmsync.model.limits import QueueLimits, UserLimits
from swarmsync.model.registries import RegistryLogin
from swarmsync.model.resources import Need
from swarmsync.model.rules import Pace, Rules, Slots, Wish
from swarmsync.model.worker import WorkerOffer, WorkerView
from swarmsync.protocol import messages as m

MOMENT_MS = 1_793_500_000_000  # 2026-11-01
JOB, OTHER_JOB, WORKER, SHAPE = (
    375_299_968_947_543_040,
    375_299_968_947_543_041,
    375_299_900_000_001_024,
    77_310_000_001,
)
REF = JobRef(JOB, 2)
NEED = Need(500, 256 << 20, 1, 1 << 30)
STOP = m.StopJob(REF, kill=True, reason=EndReason.WORKER_LOST)
HOLDING = m.Holding(REF, AssignmentState.RUNNING, NEED)
CHUNK = m.LogChunk(REF, 1, 4_096, MOMENT_MS, b"hello\n\xff\x00")
OUTPUT = m.OutputSum("out", 10_240, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", 2, 11)
SUM = m.StreamSum(11, 6, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", "f3")
SPENT = m.Spent(1_200, 80, 250, 10_020, 35)
STARTED = m.Started(REF, MOMENT_MS, "alpine@sha256:77726ef6", m.Spent(1_200, 80, 250))
PROGRESS = m.Progress(REF, AssignmentState.PULLING)
ENDED = m.Ended(
    REF,
    EndReason.EXIT_CODE,
    "exit code 3",
    MOMENT_MS,
    3,
    MOMENT_MS - 1_500,
    SUM,
    m.StreamSum(1, 1, "6e"),
    42,
    9 << 20,
    SPENT,
    (OUTPUT,),
)
SECRET = m.SecretValue("db-password", b"\x00not text\xff", "DB_PASSWORD")
RUN = m.RunJob(
    REF, 9, "nightly", 256 << 20, 7, 20, (SECRET,), "the secret x was deleted", "127.0.0.1:5000/app@sha256:77726ef6",
    77_310_000_002,
)  # fmt: skip
RULES = Rules(
    ("worker.label.zone == eu",), (Wish("image.local", 50),), "alpine:3.20", Slots("customer-17", 2),
    Pace("api-x", 10, 60_000), 50, 10, 7_200_000,
)  # fmt: skip
WAITING = (
    Waiting(JOB, SHAPE, NEED, 50, 12),
    Waiting(OTHER_JOB, SHAPE, NEED, 90, 12, "urgent", 77_310_000_002, RULES, 375_299_968_947_543_000),
)
VIEW = WorkerView(WORKER, "w1", NEED, {"zone": "eu"}, Liveness.SUSPECT, Eligibility.CORDONED)
OFFER = WorkerOffer("w1", NEED, {"zone": "eu"}, "docker", "0.1.0", "4c4c4544")

SAMPLES: tuple[Struct, ...] = (
    m.JobsSubmitted(WAITING),
    m.JobsDue(WAITING[:1]),
    m.StopWanted((JOB, OTHER_JOB)),
    m.WorkerJoined(VIEW, ((JOB, NEED),)),
    m.WorkerChanged(WORKER, Liveness.READY, Eligibility.DRAINING),
    m.WorkerLost(WORKER),
    m.AssignmentEnded(JOB, WORKER, 61_500),
    m.PlacementVoid(JOB, WORKER),
    m.LimitsChanged(
        (QueueLimits("urgent", True, 10, 2, 8_000, 16 << 30, "spread", 3),),
        (UserLimits(12, 5, 4_000, 8 << 30, 2, 3),),
    ),
    m.Ask("_INBOX.a1", "plan", WAITING[1]),
    m.Resync(),
    m.Place(JOB, WORKER, True),
    m.Revoke(JOB),
    m.LineWaits(SHAPE, WaitReason.RESOURCES, "1 worker that could run it is busy: 1 lacks free cpus", 12),
    m.Answer("_INBOX.a1", b'{"fits": true}'),
    m.PlanVoid(),
    m.Offered(REF, WORKER, NEED, 10_000, 7, 41),
    m.Refused(REF, WORKER, 7, 41, "it has no room: cpus"),
    m.JournalLine(MOMENT_MS, "harvester", "info", "worker w1 joined", JOB, {"runtime": "docker"}),
    m.Changed((JOB, OTHER_JOB), m.By.HARVESTER, (JOB,), WAITING[:1], 4_711),
    m.WorkersChanged(WORKER),
    SECRET,
    RUN,
    STOP,
    m.Orders(7, 41, (RUN, STOP), {9: b'{"image":"alpine:3.20"}'}, {"127.0.0.1:5000": RegistryLogin("user", "secret")}),
    m.Receipt(7, 41, ((REF, "it has no room: cpus"),), stale=True, also=(39, 40)),
    HOLDING,
    m.Enroll("ss_join_x", "w1", "U" + "A" * 55, b"\x01" * 64),
    m.Enrolled("w1"),
    m.Join("5f1d6c0a9b3e7788", OFFER, (HOLDING,), "join-token", "0d1c2b3a-boot", 90_000, ("alpine:3.20",)),
    m.Pulse("5f1d6c0a9b3e7788", 12, 7, 41, (HOLDING,), True, "no runc", ("alpine:3.20",)),
    SPENT,
    STARTED,
    PROGRESS,
    SUM,
    ENDED,
    m.Reports("5f1d6c0a9b3e7788", 5, (STARTED, PROGRESS, ENDED)),
    OUTPUT,
    CHUNK,
    m.LogChunks("5f1d6c0a9b3e7788", (CHUNK,)),
    m.Welcome(WORKER, 1_000, 30_000, 7, 41, (STOP,)),
    m.Refusal("this session is not known here; join again", rejoin=True),
    m.PulseAnswer(True, (STOP,), "alpine:3.20"),
    m.ReportsAck(7, (STOP,)),
    m.LogsAck(((REF, 1, 4_104), (REF, 2, 0))),
    m.CheckOutput("5f1d6c0a9b3e7788", REF, 3, OUTPUT),
    m.OutputChecked(same=False, message="9 bytes arrived"),
    m.AskLogEnds("5f1d6c0a9b3e7788", (REF,)),
)
