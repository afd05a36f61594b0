"""Secrets on their way into orders: each job gets its own user's, and what is missing is said, not left out."""

import pytest

from engine.dispatcher.secret_values import SecretValues
from swarmsync.model.job import JobRef
from swarmsync.model.resources import Need
from swarmsync.protocol.codec import convert_spec, encode_json
from swarmsync.protocol.messages import SecretValue
from swarmsync.seal import Sealer
from swarmsync.store.jobs import Dispatched
from swarmsync.store.secrets import purpose

SEALER = Sealer([bytes(range(32))])
ANN, BOB = 1, 2


class Rows:
    """The table of secrets; a question of the engine is one read."""

    def __init__(self):
        self.rows, self.reads = {}, 0

    def put(self, user_id, name, value, sealed_for=None):
        self.rows[user_id, name] = SEALER.seal(value, sealed_for or purpose(user_id, name))

    async def fetch(self, _query, user_ids, names):
        self.reads += 1
        wanted = zip(user_ids, names, strict=True)
        return [{"user_id": u, "name": n, "sealed": self.rows[u, n]} for u, n in wanted if (u, n) in self.rows]


@pytest.fixture
def rows():
    return Rows()


def entry(job_id, spec_id, user_id=ANN):
    return Dispatched(JobRef(job_id, 1), 1, 1, "", spec_id, Need(), 0, None, None, user_id)


def document(*secrets):
    return encode_json(convert_spec({"image": "a", "secrets": list(secrets)}))


async def test_values_are_those_of_the_jobs_own_user(rows):
    for user_id, value in ((ANN, b"ann's"), (BOB, b"bob's")):
        rows.put(user_id, "pw", value)
    values = SecretValues(rows, SEALER)
    found = await values.of([entry(1, 5), entry(2, 5, BOB)], {5: document("pw")})
    assert {ref.job_id: entry[0][0].value for ref, entry in found.items()} == {1: b"ann's", 2: b"bob's"}
    assert rows.reads == 1


async def test_files_and_variables_come_in_the_order_of_the_spec(rows):
    rows.put(ANN, "a", b"1")
    rows.put(ANN, "b", b"2")
    found = await SecretValues(rows, SEALER).of([entry(1, 5)], {5: document({"name": "b", "env": "B"}, "a")})
    assert found[JobRef(1, 1)] == ((SecretValue("b", b"2", "B"), SecretValue("a", b"1")), "")


async def test_jobs_without_secrets_cost_no_read(rows):
    assert await SecretValues(rows, SEALER).of([entry(1, 5)], {5: document()}) == {}
    assert rows.reads == 0


async def test_a_deleted_secret_is_named_and_no_other_value_goes_out(rows):
    rows.put(ANN, "a", b"1")
    found = await SecretValues(rows, SEALER).of([entry(1, 5)], {5: document("a", "gone")})
    assert found[JobRef(1, 1)] == ((), "the secret gone was deleted after the job was submitted")


async def test_a_value_that_was_moved_from_another_user_does_not_open(rows):
    rows.put(ANN, "a", b"bob's", sealed_for=purpose(BOB, "a"))
    (values, missing) = (await SecretValues(rows, SEALER).of([entry(1, 5)], {5: document("a")}))[JobRef(1, 1)]
    assert values == ()
    assert "cannot be opened" in missing


def test_no_repr_shows_a_value():
    assert "hush" not in repr(SecretValue("a", b"hush"))
    assert "hush" not in repr([SecretValue("a", b"hush", "A")].pop().__rich_repr__())
