"""One tree of errors that says whose fault it is.

`api/problems.py` maps it to HTTP, `cli/exits.py` to exit codes. Bugs are AssertionError or IllegalTransition: they
crash the module and the supervisor starts it again from PostgreSQL.
"""

from typing import Any, ClassVar

from msgspec import Struct


class FieldError(Struct, frozen=True):
    """One wrong place in a document; `path` is written as in `$.resources.cpus`."""

    path: str
    message: str


class SwarmError(Exception):
    """Root. The message is a sentence that a user may read."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False


class RequestError(SwarmError):
    """The caller's fault; the same request will fail again."""

    status = 400
    title = "Bad request"


class SpecError(RequestError):
    """A document that was read but is not valid; names each field and the remedy."""

    status = 422
    title = "Invalid spec"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.path}: {error.message}" for error in errors))
        self.errors = errors


class NotLoggedIn(RequestError):
    status = 401
    title = "Not logged in"


class NotAllowed(RequestError):
    status = 403
    title = "Not allowed"


class NotFound(RequestError):
    """No such thing, or somebody else's: the two are not told apart."""

    status = 404
    title = "Not found"


class Conflict(RequestError):
    """The thing is in a state that does not allow this."""

    status = 409
    title = "Conflict"


class TooLarge(RequestError):
    status = 413
    title = "Too large"


class TooMany(RequestError):
    """Come back after `retry_after_s` seconds."""

    status = 429
    title = "Too many requests"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(SwarmError):
    """A dependency is away; retry later."""

    status = 503
    title = "Unavailable"
    retryable = True


class WaitTimeout(SwarmError, TimeoutError):
    """What was waited for has not happened in the time that was given; it may still."""


class JobFailed(SwarmError):
    """A job that was to succeed did not. `job` is its document; `stderr` what it wrote there, if known."""

    def __init__(self, job: dict[str, Any], stderr: bytes = b"") -> None:
        super().__init__(f"job {job['id']} {job['state']}: {job['reason']}: {job['message']}")
        self.job = job
        self.stderr = stderr


class ChecksumError(SwarmError):
    """Bytes are not those that were sent; what arrived was not used."""


class ConfigError(SwarmError):
    """The settings cannot work; starting again will not help (exit code 3)."""


class StaleEpoch(SwarmError):
    """This process was replaced while it was not looking; it must stop writing and end."""
