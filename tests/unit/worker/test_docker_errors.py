import pytest

from swarmsync.model.lifecycle import EndReason as R
from worker import docker_errors

_ABSENT_OR_PRIVATE = (
    "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the"
    " resource is denied"
)
PULLS = [
    # status, message, with credentials, reason, retryable
    (404, "manifest for x:1 not found: manifest unknown: manifest unknown", False, R.IMAGE_NOT_FOUND, False),
    (0, "manifest unknown", False, R.IMAGE_NOT_FOUND, False),
    (500, "name unknown: repository not known", False, R.IMAGE_NOT_FOUND, False),
    (400, "invalid reference format: repository name must be lowercase", False, R.IMAGE_NOT_FOUND, False),
    (404, _ABSENT_OR_PRIVATE, False, R.IMAGE_NOT_FOUND, False),
    (404, _ABSENT_OR_PRIVATE, True, R.IMAGE_UNAUTHORIZED, False),
    (500, "Head https://r.test/v2/x/manifests/1: no basic auth credentials", False, R.IMAGE_UNAUTHORIZED, False),
    (500, "Get https://r.test/v2/: unauthorized: incorrect username or password", True, R.IMAGE_UNAUTHORIZED, False),
    (0, "unauthorized: authentication required", False, R.IMAGE_UNAUTHORIZED, False),
    (500, "denied: installation not allowed", True, R.IMAGE_UNAUTHORIZED, False),
    (403, "something", True, R.IMAGE_UNAUTHORIZED, False),
    (500, "Get https://r.test/v2/: dial tcp 10.0.0.1:443: i/o timeout", False, R.IMAGE_PULL_FAILED, True),
    (500, "dial tcp: lookup r.test on 10.0.0.1:53: no such host", False, R.IMAGE_PULL_FAILED, True),
    (500, "net/http: TLS handshake timeout", False, R.IMAGE_PULL_FAILED, True),
    (500, "toomanyrequests: You have reached your pull rate limit", False, R.IMAGE_PULL_FAILED, True),
    (0, "received unexpected HTTP status: 503 Service Unavailable", False, R.IMAGE_PULL_FAILED, True),
    (0, "unexpected EOF", False, R.IMAGE_PULL_FAILED, True),
    (0, "write /var/lib/x: no space left on device", False, R.IMAGE_PULL_FAILED, True),
    (0, "filesystem layer verification failed for digest sha256:00", False, R.IMAGE_PULL_FAILED, True),
    (404, "no matching manifest for linux/amd64 in the manifest list entries", False, R.IMAGE_PULL_FAILED, False),
    (500, "x509: certificate signed by unknown authority", False, R.IMAGE_PULL_FAILED, False),
    (500, "http: server gave HTTP response to HTTPS client", False, R.IMAGE_PULL_FAILED, False),
]


@pytest.mark.parametrize(("status", "message", "with_credentials", "reason", "retryable"), PULLS)
def test_pulls(status, message, with_credentials, reason, retryable):
    problem = docker_errors.pull_problem("x:1", status, message, with_credentials=with_credentials)
    assert (problem.reason, problem.retryable) == (reason, retryable)
    assert "x:1" in problem.message
    assert str(problem) == problem.message


@pytest.mark.parametrize(
    ("status", "message", "reason", "code", "retryable"),
    [
        (404, "No such image: x:1", R.IMAGE_NOT_FOUND, None, True),
        (400, "No command specified", R.CREATE_FAILED, 127, False),
        (400, "invalid mount config for type tmpfs", R.CREATE_FAILED, None, False),
        (400, "Range of CPUs is from 0.01 to 2.00", R.CREATE_FAILED, None, False),
        (500, "--storage-opt is supported only for overlay over xfs", R.CREATE_FAILED, None, True),
    ],
)
def test_creates(status, message, reason, code, retryable):
    problem = docker_errors.create_problem("x:1", status, message)
    assert (problem.reason, problem.exit_code, problem.retryable) == (reason, code, retryable)


_RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "


@pytest.mark.parametrize(
    ("status", "message", "reason", "code", "retryable"),
    [
        (400, _RUNC + 'exec: "foo": executable file not found in $PATH: unknown', R.START_FAILED, 127, False),
        (400, _RUNC + 'exec: "/foo": stat /foo: no such file or directory: unknown', R.START_FAILED, 127, False),
        (400, _RUNC + 'exec: "/etc/passwd": permission denied: unknown', R.START_FAILED, 126, False),
        (400, _RUNC + 'exec: "/etc": is a directory: unknown', R.START_FAILED, 126, False),
        (500, 'starting container process caused "exec format error"', R.START_FAILED, 126, False),
        (500, "unable to find user x: no matching entries in passwd file", R.START_FAILED, None, False),
        (500, "unable to find group x: no matching entries in group file", R.START_FAILED, None, False),
        (404, "network team not found", R.START_FAILED, None, False),
        (404, "No such container: abc", R.CONTAINER_REMOVED, None, False),
        (500, 'could not select device driver "" with capabilities: [[gpu]]', R.START_FAILED, None, True),
        (500, "mkdir /var/lib/x: no such file or directory", R.START_FAILED, None, True),
    ],
)
def test_starts(status, message, reason, code, retryable):
    problem = docker_errors.start_problem(status, message)
    assert (problem.reason, problem.exit_code, problem.retryable) == (reason, code, retryable)


def test_other_refusals_and_silence():
    assert docker_errors.engine_problem("list containers", 500, "boom").retryable
    assert not docker_errors.engine_problem("list containers", 400, "bad filter").retryable
    away = docker_errors.engine_away("list containers", "no answer within 60 s")
    assert (away.reason, away.retryable) == (R.DOCKER_ERROR, True)


def test_a_long_message_is_shortened_to_one_line():
    message = docker_errors.engine_problem("do it", 500, "word\n" * 1000).message
    assert len(message) < 500
    assert "\n" not in message
