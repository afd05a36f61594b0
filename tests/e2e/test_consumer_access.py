"""Users, tokens and keys from the command line to PostgreSQL and back."""

import json

import pytest

pytestmark = pytest.mark.e2e


def test_an_administrator_makes_a_user_who_logs_in_by_key(make_core):
    core = make_core("[worker]\nenabled = false\n")
    key = core.directory / "key"

    def consumer(*words, **how):
        done = core.consumer(*words, **how)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    consumer("user", "create", "ann", "--password-stdin", input="a rather long password\n")
    consumer("login", "--username", "ann", "--password-stdin", input="a rather long password\n")
    consumer("key", "create", "--file", str(key))
    consumer("key", "add", "laptop", "--file", str(key), "--password-stdin", input="a rather long password\n")
    consumer("logout")
    assert core.consumer("whoami").returncode == 4
    consumer("login", "--username", "ann", "--key", str(key))
    assert json.loads(consumer("whoami", "-o", "json"))["username"] == "ann"
    assert json.loads(consumer("session", "list", "-o", "json"))["items"][0]["how"] == "key"
    assert core.consumer("user", "create", "bob", "--no-password").returncode == 4
    assert core.consumer("audit", "list").returncode == 4

    token = consumer("token", "create", "ci", "--scope", "jobs:read").strip()
    core.environ["SWARMSYNC_TOKEN"] = token
    assert core.consumer("run", "-d", "alpine", "true").returncode == 125
    consumer("job", "list")
    del core.environ["SWARMSYNC_TOKEN"]

    password = (core.data_dir / "admin-password").read_text()
    consumer("login", "--username", "admin", "--password-stdin", input=password)
    head = json.loads(consumer("audit", "verify", "-o", "json"))["head"]
    consumer("user", "update", "ann", "--disable")
    denied = core.consumer("login", "--username", "ann", "--key", str(key))
    assert denied.returncode == 4
    assert "verify" not in consumer("audit", "list", "--user", "ann", "-o", "jsonl").splitlines()[0]
    assert json.loads(consumer("audit", "verify", "--head", head, "-o", "json"))["ok"] is True
