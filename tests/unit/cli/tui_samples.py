"""Events, modules and screens of the tests of the full-screen programs."""

from datetime import UTC, datetime

T0 = 1_790_000_000.0


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(T0 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event(job: str, state: str, seq: int, *, at: float | None = None, **fields):
    return {
        "id": f"7-{seq}", "job": job, "state": state, "reason": "", "message": "",
        "at": moment(seq if at is None else at), "attempt": 1 if state not in ("queued", "held") else 0,
        "worker": "w1" if state in ("starting", "running", "stopping") else None, "name": f"name-{job}",
        "user": "ann", "queue": "default", "cpus": 0.5, "memory": 256 << 20, "array_index": None, "array_size": None,
    } | fields  # fmt: skip


def worker(name: str, **fields):
    capacity = {"cpus": 2.0, "memory": 1 << 30, "gpus": 0, "disk": 0}
    return {"name": name, "liveness": "ready", "eligibility": "open", "capacity": capacity} | fields


def module(name: str, *, fill: float = 0.0, oldest_ms: int = 0, **fields):
    ring = {"from": "x", "fill": fill, "oldest_ms": oldest_ms, "taken_per_s": 3.0, "waiting": 0, "dropped": 0}
    return {
        "name": name, "kind": "module", "purpose": f"what {name} does", "state": "running", "restarts": 0,
        "pulse_age_ms": 40, "pulse_lag_ms": {"fast": 1.2, "medium": 0.4, "slow": 2.0}, "memory_bytes": 50 << 20,
        "cpu_percent": 3.0, "rings": {f"to-{name}": ring}, "last_error": None,
    } | fields  # fmt: skip


def shown(screen, columns: int = 80, rows: int = 24, now: float = T0 + 100) -> list[str]:
    """The screen as lines of text; each must fill the width, and there must be as many as there are rows."""
    page = screen.view(columns, rows, now)
    lines = ["".join(words for _, words in line) for line in page.lines]
    assert len(lines) == rows
    assert {len(line) for line in lines} == {columns}
    return [line.rstrip() for line in lines]
