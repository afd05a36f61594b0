"""No argument of PostgreSQL's programs holds a password."""

import pytest

from swarmsync.postgres_programs import login_of


@pytest.mark.parametrize(
    ("url", "plain", "password"),
    [
        ("postgresql://owner:s%2Fcret@/postgres?host=/run/x", "postgresql://owner@/postgres?host=/run/x", "s/cret"),
        ("postgresql://owner:pw0rd@db.example:5433/swarm", "postgresql://owner@db.example:5433/swarm", "pw0rd"),
        (
            "postgresql://owner@db/s?password=p%20q&sslmode=verify-full",
            "postgresql://owner@db/s?sslmode=verify-full",
            "p q",
        ),
        ("postgresql://db/s", "postgresql://db/s", None),
    ],
)
def test_a_url_is_parted_from_its_password(url, plain, password):
    login = login_of(url)
    assert login.url == plain
    assert login.environ.get("PGPASSWORD") == password
    assert "***" in repr(login)
    assert password is None or password not in repr(login)
