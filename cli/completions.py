"""What the shell offers behind options and arguments. Silent and quick when Core is away."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

Offers = list[tuple[str, str]]
STATES: Final = (
    "held", "scheduled", "blocked", "queued", "starting", "running", "stopping",
    "succeeded", "failed", "timed_out", "cancelled", "expired", "waiting", "active", "finished",
)  # fmt: skip
LEVELS: Final = ("debug", "info", "warning", "error")


def states(incomplete: str) -> list[str]:
    """Offer states; behind a comma another one."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{state}" for state in STATES if state.startswith(last)]


def levels(incomplete: str) -> list[str]:
    return [level for level in LEVELS if level.startswith(incomplete)]


def jobs(incomplete: str) -> Offers:
    """Offer what selects a job: `last`, ids and @names of recent jobs."""
    from cli.selectors import complete

    return complete(incomplete)


def job_names(incomplete: str) -> Offers:
    return _offered("/v1/jobs", incomplete, lambda job: [(job["name"], job["state"])])


def labels(incomplete: str) -> Offers:
    """Offer KEY=VALUE of recent jobs."""
    return _offered("/v1/jobs", incomplete, _pairs)


def worker_labels(incomplete: str) -> Offers:
    return _offered("/v1/workers", incomplete, _pairs)


def users(incomplete: str) -> Offers:
    """Offer users of recent jobs."""
    return _offered("/v1/jobs", incomplete, lambda job: [(job["user"], "")])


def queues(incomplete: str) -> Offers:
    return _offered("/v1/queues", incomplete, lambda queue: [(queue["name"], f"{queue['waiting']} waiting")])


def workers(incomplete: str) -> Offers:
    return _offered("/v1/workers", incomplete, lambda worker: [(worker["name"], worker["liveness"])])


def secrets(incomplete: str) -> Offers:
    return _offered("/v1/secrets", incomplete, lambda secret: [(secret["name"], "")])


def tokens(incomplete: str) -> Offers:
    return _offered("/v1/tokens", incomplete, lambda token: [(token["name"], token["user"])])


def keys(incomplete: str) -> Offers:
    return _offered("/v1/keys", incomplete, lambda key: [(key["name"], "")])


def user_names(incomplete: str) -> Offers:
    return _offered("/v1/users", incomplete, lambda user: [(user["username"], user["role"])])


def registries(incomplete: str) -> Offers:
    return _offered("/v1/registries", incomplete, lambda entry: [(entry["registry"], entry["username"])])


def modules(incomplete: str) -> Offers:
    return _offered("/v1/modules", incomplete, lambda module: [(module["name"], module["state"])])


def _pairs(item: Any) -> Iterator[tuple[str, str]]:
    yield from ((f"{key}={value}", "") for key, value in (item.get("labels") or {}).items())


def _offered(path: str, incomplete: str, read: Callable[[Any], Iterable[tuple[str, str]]]) -> Offers:
    from cli.profiles import connect
    from swarmsync.errors import SwarmError

    query = {"limit": 100} if path != "/v1/modules" else None
    try:
        with connect(patience_s=0.0) as client:
            page = client.get(path, query, timeout_s=1.0)
        found = [offer for item in page["items"] for offer in read(item)]
    except (SwarmError, KeyError, TypeError, AttributeError):
        return []
    return [offer for offer in dict(reversed(found)).items() if offer[0] and offer[0].startswith(incomplete)]
