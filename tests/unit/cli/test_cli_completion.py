import pytest
from fake_core import ID, Problem, job

from cli import completions


@pytest.fixture
def jobs(consumer, core):
    items = [
        job(name="nightly", state="running", labels={"team": "ml", "zone": "eu"}),
        job(id="01x", name="", labels={"team": "web"}, user="bob"),
    ]
    core.on("GET", "/v1/jobs", {"items": items, "next_cursor": None})
    core.on("GET", "/v1/queues", {"items": [{"name": "default", "waiting": 3}]})
    core.on("GET", "/v1/workers", {"items": [{"name": "w1", "liveness": "ready", "labels": {"zone": "eu"}}]})
    core.on("GET", "/v1/modules", {"items": [{"name": "harvester", "state": "running"}]})


@pytest.mark.parametrize(
    ("offer", "incomplete", "found"),
    [
        (completions.labels, "team", {"team=ml": "", "team=web": ""}),
        (completions.job_names, "n", {"nightly": "running"}),
        (completions.users, "b", {"bob": ""}),
        (completions.queues, "", {"default": "3 waiting"}),
        (completions.workers, "w", {"w1": "ready"}),
        (completions.worker_labels, "z", {"zone=eu": ""}),
        (completions.modules, "har", {"harvester": "running"}),
        (completions.workers, "x", {}),
    ],
)
def test_what_core_knows_is_offered(jobs, offer, incomplete, found):
    assert dict(offer(incomplete)) == found


def test_states_and_levels_need_no_core():
    assert completions.states("su") == ["succeeded"]
    assert completions.states("queued,sch") == ["queued,scheduled"]
    assert completions.levels("w") == ["warning"]


def test_a_core_that_is_away_offers_nothing(consumer, core):
    core.on("GET", "/v1/jobs", Problem(503, "away"))
    assert completions.labels("") == []


def complete(consumer, monkeypatch, capsys, words: str) -> list[str]:
    """What bash gets for a line that ends with its last word unfinished."""
    monkeypatch.setenv("_CONSUMER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"consumer {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(f"consumer {words}".split(" ")) - 1))
    assert consumer() == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ins", "inspect"),
        ("job list --label team=w", "team=web"),
        ("job list --state fai", "failed"),
        ("job show 01h", ID),
        ("job show @n", "@nightly"),
        ("worker cordon w", "w1"),
        ("job logs --name ni", "nightly"),
        ("inspect jobs --queue de", "default"),
        ("log list --level wa", "warning"),
    ],
)
def test_the_shell_is_offered_ids_names_labels_and_states(jobs, consumer, monkeypatch, capsys, words, found):
    assert found in complete(consumer, monkeypatch, capsys, words)
