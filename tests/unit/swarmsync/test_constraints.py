"""The language of constraints: what it says of a worker, and what it answers to nonsense."""

import re

import pytest

from swarmsync.model.constraints import parse
from swarmsync.model.resources import Need
from swarmsync.model.spec import Affinity, JobSpec, check
from swarmsync.model.worker import WorkerView

GIB = 1 << 30
LABELS = {"zone": "eu", "disk/kind": "ssd", "cores.base": "12", "gpu.model": "a100", "rack": "r-7 left"}
WORKER = WorkerView(1, "w1", Need(8_000, 16 * GIB, 2), LABELS, images=("alpine:3.20",), runtime="docker")


@pytest.mark.parametrize(
    "text",
    [
        "worker.label.zone == eu",
        "worker.label.zone==eu",
        "worker.label.zone != us",
        "worker.label.none != us",
        "worker.label.zone in [us, eu]",
        "worker.label.zone in (eu)",
        "worker.label.zone not in [us, 'asia']",
        "worker.label.none not in [us]",
        "worker.label.zone",
        "worker.label.zone exists",
        "worker.label.none not exists",
        "worker.label.disk/kind == ssd",
        "worker.label.cores.base >= 9",
        "worker.label.cores.base < 100",
        'worker.label.rack == "r-7 left"',
        "worker.name == w1",
        "worker.runtime in [docker, process]",
        "worker.cpus == 8.0",
        "worker.cpus > 7.5",
        "worker.memory >= 16GiB",
        "worker.memory < 20g",
        "gpu.model == a100",
        "gpu.count >= 2",
        "gpu.count in [2, 4]",
        "image.local",
    ],
)
def test_what_is_so(text: str):
    assert parse(text).holds(WORKER, "alpine:3.20")


@pytest.mark.parametrize(
    "text",
    [
        "worker.label.zone == us",
        "worker.label.zone == EU",
        "worker.label.none == eu",
        "worker.label.zone != eu",
        "worker.label.none in [eu]",
        "worker.label.zone not in [eu]",
        "worker.label.none",
        "worker.label.zone not exists",
        "worker.label.cores.base < 9",
        "worker.label.zone < 9",
        "worker.label.none < 9",
        "worker.name == w2",
        "worker.memory > 16GiB",
        "gpu.count < 2",
        "image.local not exists",
    ],
)
def test_what_is_not_so(text: str):
    assert not parse(text).holds(WORKER, "alpine:3.20")


def test_an_image_that_the_worker_does_not_have_is_not_local():
    assert not parse("image.local").holds(WORKER, "alpine:3.21")


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("", "", "is empty"),
        ("zone == eu", "character 1:", "'zone' is not known; known are worker.label.KEY"),
        ("== eu", "character 1:", "expected what to look at"),
        ("worker.label. == eu", "character 1:", "a label's key follows"),
        ("worker.label.zone = eu", "character 19:", "write == to compare"),
        ("worker.label.zone ==", "character 21:", "expected one value after =="),
        ("worker.label.zone == eu us", "character 25:", "expected one value after =="),
        ("worker.label.zone is eu", "character 19:", "expected ==, !=, <"),
        ("worker.label.zone in eu", "character 22:", "expected a list"),
        ("worker.label.zone in [eu us]", "character 26:", "expected a comma"),
        ("worker.label.zone in [eu,]", "character 26:", "expected a value after the comma"),
        ("worker.label.zone in [,eu]", "character 23:", "expected a value"),
        ("worker.label.zone in [eu)", "character 22:", "expected a list"),
        ("worker.label.zone not eu", "character 19:", "expected ==, !=, <"),
        ("worker.label.zone > big", "character 21:", "'big' is not a number"),
        ("worker.memory > lots", "character 17:", "'lots' is not a size like 16GiB"),
        ('worker.name == "w1', "character 15:", "quote a value"),
        ("image.local == 1", "character 1:", "image.local stands alone"),
    ],
)
def test_nonsense_is_answered_with_its_place_and_the_remedy(text: str, place: str, remedy: str):
    with pytest.raises(ValueError, match=re.escape(remedy)) as caught:
        parse(text)
    assert place in str(caught.value)


def test_a_spec_is_told_which_expression_is_wrong():
    spec = JobSpec(
        "alpine",
        constraints=("worker.label.zone == eu", "zone == eu", "image.local"),
        affinity=(Affinity("image.local"), Affinity("gpu.model ==")),
    )
    assert [problem.path for problem in check(spec)] == ["$.constraints[1]", "$.constraints[2]", "$.affinity[1].match"]


def test_a_spec_has_so_many_expressions_at_most():
    (problem,) = check(JobSpec("alpine", constraints=("worker.name",) * 65))
    assert problem.path == "$.constraints"
