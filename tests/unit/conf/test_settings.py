"""Defaults, then the file, then the environment, then the command line; what is wrong is named."""

from pathlib import Path

import pytest

from conf.settings import VARIABLES, Settings, default_data_dir, load
from swarmsync.errors import ConfigError

HOME = {"HOME": "/home/someone"}


@pytest.fixture
def written(tmp_path):
    """Write a configuration file and load it with an environment and overrides."""

    def write(text, environ=None, **overrides):
        path = tmp_path / "swarmsync.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, {**HOME, **(environ or {})}, **overrides)

    return write


def test_without_anything_the_defaults_are_the_documented_ones():
    settings = load(None, HOME)
    assert (settings.api.bind, settings.api.port) == ("127.0.0.1", 8420)
    assert (settings.pulse.fast_ms, settings.pulse.medium_ms, settings.pulse.slow_ms) == (100, 1_000, 10_000)
    assert (settings.workers.lease_ms, settings.workers.crash_limit) == (30_000, 5)
    assert (settings.database.url, settings.nats.url, settings.redis.url) == ("", "", "")
    assert settings.data_path == Path("/home/someone/.local/share/swarmsync")


def test_a_variable_may_be_a_file(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("postgresql://a:b@c/d\n")
    environ = {**HOME, "SWARMSYNC_DATABASE_URL_FILE": str(secret)}
    assert load(None, environ).database.url == "postgresql://a:b@c/d"
    assert load(None, {**environ, "SWARMSYNC_DATABASE_URL": "postgresql://x/y"}).database.url == "postgresql://x/y"
    with pytest.raises(ConfigError, match="SWARMSYNC_JOIN_TOKEN_FILE: cannot read"):
        load(None, {**HOME, "SWARMSYNC_JOIN_TOKEN_FILE": str(tmp_path / "absent")})


def test_the_file_replaces_defaults_and_leaves_the_rest(written):
    settings = written("data_dir = '/srv/x'\n[api]\nport = 9000\n[worker]\nlabels = {zone = 'eu'}\ncpus = 2\n")
    assert (settings.data_dir, settings.api.port, settings.api.bind) == ("/srv/x", 9000, "127.0.0.1")
    assert (settings.worker.labels, settings.worker.cpus) == ({"zone": "eu"}, 2.0)


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(written):
    text, environ = "[api]\nport = 9000\nbind = '::1'\n", {"SWARMSYNC_API_PORT": "9001", "SWARMSYNC_DATA_DIR": "/env"}
    assert written(text, environ).api.port == 9001
    settings = written(text, environ, api__port=9002, data_dir=None)
    assert (settings.api.port, settings.api.bind, settings.data_dir) == (9002, "::1", "/env")


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("[api]\nbind = '0.0.0.0'", False),
        ("[api]\nbind = '10.0.0.7'\nplain = true", True),
        ("[api]\nbind = '10.0.0.7'\ntls_cert = 'c'\ntls_key = 'k'", True),
        ("[api]\ntls_cert = 'c'", False),
        ("[api]\nbind = '127.0.0.9'", True),
        ("[nats]\nbind = '::'", False),
        ("[nats]\nbind = '::'\nurl = 'nats://elsewhere'", True),
    ],
)
def test_beyond_loopback_there_is_tls_or_nothing(written, text, fine):
    if fine:
        written(text)
        return
    with pytest.raises(ConfigError, match="tls_cert"):
        written(text)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("SWARMSYNC_WORKER_ENABLED", "false", False),
        ("SWARMSYNC_WORKER_ENABLED", "1", True),
        ("SWARMSYNC_WORKER_CPUS", "2.5", 2.5),
        ("SWARMSYNC_API_PORT", "0", 0),
        ("SWARMSYNC_DATABASE_URL", "postgresql://a@b/c", "postgresql://a@b/c"),
        ("SWARMSYNC_WORKER_RUNTIME", "simulated", "simulated"),
    ],
)
def test_variables_are_text_and_become_what_the_setting_is(variable, text, value):
    settings = load(None, {**HOME, variable: text})
    section, name = VARIABLES[variable].split(".")
    assert getattr(getattr(settings, section), name) == value


def test_every_variable_names_a_setting_that_exists():
    for variable, key in VARIABLES.items():
        place = Settings()
        for part in key.split("."):
            place = getattr(place, part)
        assert variable.startswith("SWARMSYNC_")


def test_an_empty_variable_is_no_setting():
    assert load(None, {**HOME, "SWARMSYNC_API_PORT": "", "SWARMSYNC_DATA_DIR": ""}).api.port == 8420


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[api]\nprot = 1\n", ("prot", "$.api")),
        ("[apis]\nport = 1\n", ("apis",)),
        ("[api]\nport = 70000\n", ("$.api.port", "65535")),
        ("[api]\nport = 'x'\n", ("$.api.port",)),
        ("[api]\nprocesses = 0\n", ("$.api.processes",)),
        ("[pulse]\nfast_ms = -1\n", ("$.pulse.fast_ms",)),
        ("[worker]\nenabled = 'perhaps'\n", ("$.worker.enabled",)),
        ("[worker]\nlabels = {a = 1}\n", ("$.worker.labels",)),
        ("[worker]\nruntime = 'podman'\n", ("worker.runtime", "podman")),
        ("[worker]\ncpus = -1\n", ("$.worker.cpus",)),
        ("[worker]\ncpus = nan\n", ("$.worker.cpus",)),
        ("[database]\nacquire_timeout_s = -5\n", ("$.database.acquire_timeout_s",)),
        ("api = 5\n", ("$.api",)),
        ("data_dir = 5\n", ("$.data_dir",)),
    ],
)
def test_what_is_wrong_is_a_config_error_that_names_it(written, text, names):
    with pytest.raises(ConfigError) as caught:
        written(text)
    for name in names:
        assert name in str(caught.value)


def test_a_wrong_variable_is_named_by_its_setting():
    with pytest.raises(ConfigError, match=r"\$\.api\.port"):
        load(None, {**HOME, "SWARMSYNC_API_PORT": "eighty"})


@pytest.mark.parametrize("more", [{"environ": {"SWARMSYNC_API_PORT": "1"}}, {"api__port": 1}])
def test_a_section_that_is_no_section_is_named_also_when_something_replaces_a_part_of_it(written, more):
    with pytest.raises(ConfigError, match="api"):
        written("api = 5\n", **more)


@pytest.mark.parametrize(
    "content", ["[api", "a = ", "a = 1\na = 2\n", b"\xff\xfe\x00"], ids=["open", "half", "twice", "no UTF-8"]
)
def test_a_file_that_is_no_toml_says_so_with_its_name(written, content):
    with pytest.raises(ConfigError, match=r"swarmsync\.toml is not TOML"):
        written(content)


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*: No such file"):
        load(tmp_path / "none.toml", HOME)
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*: Is a directory"):
        load(tmp_path, HOME)


def test_the_default_directories_follow_the_desktops_rules():
    assert default_data_dir({**HOME, "XDG_DATA_HOME": "/data"}) == Path("/data/swarmsync")


def test_a_data_directory_may_begin_with_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(None, {**HOME, "SWARMSYNC_DATA_DIR": "~/x"}).data_path == Path("/home/someone/x")
