"""What cannot be sent, read or reached is told in one line with the way out, and never as a traceback."""

import hashlib
import io
import tarfile

import pytest
from fake_core import ID, job

BYTES = "\udcff"  # as Python hands over an argument that is the one byte 255


def told(capsys):
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["job", "create", "alpine", BYTES], 2),
        (["submit", "-e", f"A={BYTES}", "alpine"], 2),
        (["run", "alpine", "echo", BYTES], 125),
        (["job", "list", "--name", BYTES], 2),
        (["queue", "show", BYTES], 2),
    ],
)
def test_bytes_that_are_no_text_are_refused(consumer, capsys, words, code):
    assert consumer(*words) == code
    assert "UTF-8" in told(capsys)


def test_half_a_character_in_a_file_is_refused(consumer, core, capsys, tmp_path):
    (tmp_path / "spec.json").write_text('{"image": "a", "command": ["\\ud800"]}')
    assert consumer("job", "create", "-f", str(tmp_path / "spec.json")) == 2
    assert "'\\ud800' cannot be sent" in told(capsys).replace("\\\\", "\\")
    assert core.requests == []


def test_a_document_that_contains_itself_is_refused(consumer, capsys, tmp_path):
    (tmp_path / "spec.yaml").write_text("image: a\nlabels: &a {b: *a}\n")
    assert consumer("job", "create", "-f", str(tmp_path / "spec.yaml")) == 2
    assert "contains itself" in told(capsys)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:99999", "its port is not a number up to 65535"),
        ("http://127.0.0.1:abc", "its port is not a number up to 65535"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://127.0.0.1:1/a b", "blanks"),
        ("127.0.0.1", "begins with http://"),
        (f"http://{'a' * 70}.example", "its name is none"),
    ],
)
@pytest.mark.parametrize(("words", "code"), [(["job", "list"], 2), (["run", "alpine"], 125)])
def test_what_is_no_address_is_told_with_the_reason(consumer, capsys, monkeypatch, url, reason, words, code):
    monkeypatch.setenv("SWARMSYNC_URL", url)
    assert consumer(*words) == code
    error = told(capsys)
    assert reason in error
    assert "write it like http://127.0.0.1:8420" in error


@pytest.mark.parametrize("token", ["a\nb", "a\tb", "ä"])
def test_a_token_that_no_header_carries_is_told(consumer, core, capsys, monkeypatch, token):
    monkeypatch.setenv("SWARMSYNC_TOKEN", token)
    assert consumer("job", "list") == 2
    assert "SWARMSYNC_TOKEN" in told(capsys)
    assert core.requests == []


def test_a_time_outside_of_the_years_is_told(consumer, core, capsys):
    assert consumer("job", "list", "--since", "0001-01-01T00:00:00+05:00") == 2
    assert "outside the years" in told(capsys)
    core.on("GET", "/v1/jobs", {"items": [], "next_cursor": None})
    assert consumer("job", "list", "-a", "--since", "0044-03-15") == 0
    assert core.requests[-1].query["since"] == ["0044-03-15T00:00:00.000000Z"]


@pytest.mark.parametrize(
    ("directory", "reason"),
    [("file", "there is a file"), ("file/below", "there is a file"), ("/proc/x", "No such file")],
)
def test_outputs_that_have_no_place_are_told(consumer, core, capsys, tmp_path, monkeypatch, directory, reason):
    made = io.BytesIO()
    tarfile.open(fileobj=made, mode="w").close()
    digest = hashlib.sha256(made.getvalue()).hexdigest()
    monkeypatch.setattr("swarmsync.client.Client.download", lambda *_: digest)
    core.on("GET", f"/v1/jobs/{ID}/outputs", {"items": [{"name": "out", "sha256": digest}]})
    (tmp_path / "file").write_text("mine")
    assert consumer("job", "get", ID, "-o", str(tmp_path / directory)) == 2
    error = told(capsys)
    assert reason in error
    assert "choose another place with -o DIR" in error


@pytest.mark.parametrize(
    ("words", "remedy"),
    [(["-it", "alpine", "sh"], "leave -i and -t out"), (["--gpus", "all", "alpine"], "write it like --gpus 2")],
)
def test_what_docker_run_has_and_run_has_not_says_what_to_do(consumer, core, capsys, words, remedy):
    core.on("POST", "/v1/jobs", (201, job()))
    assert consumer("run", *words) == 125
    assert remedy in " ".join(told(capsys).split())
    assert core.requests == []
