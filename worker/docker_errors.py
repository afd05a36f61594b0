"""What Docker's answers mean for a job. Pure: status and message in, RuntimeProblem out.

Docker gives one status to many causes (500 for most pull errors, 400 for most start errors), so the message decides.
The texts are those of Engine 20.10 to 28 and of the registries that it quotes.
"""

from typing import Final

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import RuntimeProblem

#: `docker run` exits with these when the command cannot be started.
EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127

_NOT_FOUND: Final = (
    "manifest unknown",
    "name unknown",
    "not found: manifest",
    "no such image",
    "repository name not known",
    "invalid reference format",
)
_ABSENT_OR_PRIVATE: Final = ("does not exist or may require", "repository does not exist or may")
_UNAUTHORIZED: Final = (
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "incorrect username or password",
    "access to the resource is denied",
    "access denied",
    "denied:",
    "403 forbidden",
)
_PERMANENT: Final = (
    "no matching manifest for",
    "unsupported media type",
    "unsupported manifest",
    "x509:",
    "server gave http response to https client",
    "exec format error",
)
_NO_COMMAND: Final = ("executable file not found", "no such file or directory", "no command specified")
#: The image has no such user or group. The engine answers 500, but no worker and no other time would help.
_NO_USER: Final = ("no matching entries in passwd file", "no matching entries in group file")
_NOT_EXECUTABLE: Final = ("permission denied", "is a directory", "not a directory", "exec format error")


def pull_problem(image: str, status: int, message: str, *, with_credentials: bool) -> RuntimeProblem:
    """Class an error of a pull: the answer's status (0 when it came inside the progress stream) and its message.

    Registries do not tell a private repository from one that does not exist. Without credentials that is
    ImageNotFound, with credentials ImageUnauthorized; the message names both.
    """
    text, said = message.lower(), _shorten(message)
    if _has(text, _ABSENT_OR_PRIVATE):
        if with_credentials:
            return RuntimeProblem(
                EndReason.IMAGE_UNAUTHORIZED,
                f"the image {image} does not exist, or the credentials do not allow it: {said}",
            )
        return RuntimeProblem(
            EndReason.IMAGE_NOT_FOUND, f"the image {image} does not exist, or it needs credentials: {said}"
        )
    if _has(text, _UNAUTHORIZED) or status in (401, 403):
        return RuntimeProblem(
            EndReason.IMAGE_UNAUTHORIZED, f"the registry does not allow pulling the image {image}: {said}"
        )
    permanent = _has(text, _PERMANENT)
    if _has(text, _NOT_FOUND) or (status == 404 and not permanent):
        return RuntimeProblem(EndReason.IMAGE_NOT_FOUND, f"there is no image {image}: {said}")
    return RuntimeProblem(
        EndReason.IMAGE_PULL_FAILED, f"the image {image} could not be pulled: {said}", retryable=not permanent
    )


def create_problem(image: str, status: int, message: str) -> RuntimeProblem:
    """Class an error of POST /containers/create."""
    text, said = message.lower(), _shorten(message)
    if status == 404 and "no such image" in text:
        return RuntimeProblem(
            EndReason.IMAGE_NOT_FOUND, f"the image {image} is no longer on this worker", retryable=True
        )
    if "no command specified" in text:
        return RuntimeProblem(
            EndReason.CREATE_FAILED,
            f"the image {image} names no command, and neither does the job",
            exit_code=EXIT_NOT_FOUND,
        )
    return RuntimeProblem(
        EndReason.CREATE_FAILED, f"the container could not be created: {said}", retryable=status >= 500
    )


def start_problem(status: int, message: str) -> RuntimeProblem:
    """Class an error of POST /containers/{id}/start; `exit_code` is what `docker run` would exit with."""
    text, said = message.lower(), _shorten(message)
    if status == 404 and "no such container" in text:
        return RuntimeProblem(EndReason.CONTAINER_REMOVED, "the container was removed before it started")
    in_command = "exec:" in text or "starting container process" in text
    if _has(text, _NO_COMMAND) and (in_command or status == 400):
        return RuntimeProblem(
            EndReason.START_FAILED, f"the command was not found in the container: {said}", exit_code=EXIT_NOT_FOUND
        )
    if _has(text, _NOT_EXECUTABLE) and (in_command or status == 400):
        return RuntimeProblem(
            EndReason.START_FAILED, f"the command cannot be executed: {said}", exit_code=EXIT_NOT_EXECUTABLE
        )
    return RuntimeProblem(
        EndReason.START_FAILED,
        f"the container could not be started: {said}",
        retryable=status >= 500 and not _has(text, _NO_USER),
    )


def engine_problem(doing: str, status: int, message: str) -> RuntimeProblem:
    """Any other refusal of the engine; `doing` completes "Docker failed to ..."."""
    return RuntimeProblem(
        EndReason.DOCKER_ERROR, f"Docker failed to {doing}: {_shorten(message)} ({status})", retryable=status >= 500
    )


def engine_away(doing: str, cause: str) -> RuntimeProblem:
    """The engine gave no answer at all."""
    return RuntimeProblem(
        EndReason.DOCKER_ERROR, f"Docker did not answer when asked to {doing}: {cause}", retryable=True
    )


def _has(text: str, marks: tuple[str, ...]) -> bool:
    return any(mark in text for mark in marks)


def _shorten(message: str) -> str:
    words = " ".join(message.split())
    return words if len(words) <= 400 else f"{words[:397]}..."
