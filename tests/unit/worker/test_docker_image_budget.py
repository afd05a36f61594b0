"""Which images go when they take too much disk."""

from hypothesis import given
from hypothesis import strategies as st

from worker.docker_image_budget import NAMES_MAX, PulledImage, names_of, surplus

IMAGES = [PulledImage("old", 10, 1.0), PulledImage("new", 10, 3.0), PulledImage("middle", 10, 2.0)]


def test_the_least_recently_used_go_first_and_only_as_many_as_needed():
    assert surplus(IMAGES, (), 30) == []
    assert surplus(IMAGES, (), 29) == ["old"]
    assert surplus(IMAGES, (), 10) == ["old", "middle"]
    assert surplus(IMAGES, (), 0) == ["old", "middle", "new"]


def test_what_is_in_use_stays_however_old():
    assert surplus(IMAGES, {"old"}, 20) == ["middle"]
    assert surplus(IMAGES, {"old", "middle", "new"}, 0) == []


@given(
    st.lists(st.builds(PulledImage, st.text(max_size=3), st.integers(0, 50), st.floats(0, 9)), unique_by=lambda i: i.image_id),
    st.sets(st.text(max_size=3)),
    st.integers(0, 200),
)  # fmt: skip
def test_the_rest_fits_unless_what_is_in_use_does_not(images, in_use, budget):
    gone = set(surplus(images, in_use, budget))
    rest = [image for image in images if image.image_id not in gone]
    assert not gone & in_use
    assert sum(i.size_bytes for i in rest) <= budget or all(i.image_id in in_use for i in rest)


def test_names_are_as_jobs_write_them_and_bounded():
    listed = [
        {"RepoTags": ["b:latest", "a:1"]},
        {"RepoTags": ["<none>:<none>"]},
        {"RepoTags": None},
        {"RepoTags": ["x" * 300]},
    ]
    assert names_of(listed) == ("a:1", "b", "b:latest")
    assert len(names_of([{"RepoTags": [f"i:{number}" for number in range(1_000)]}])) == NAMES_MAX
