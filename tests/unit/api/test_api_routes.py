"""What every route promises, read from the declarations; nothing is connected."""

import json

import pytest
from msgspec import inspect

from api import app as application
from api import scopes
from api.access import Access
from api.app import ROUTES, create_app
from api.config import ApiConfig
from api.config import load as load_config
from api.endpoint import Resource, declared, endpoint
from swarmsync.errors import ConfigError

PUBLIC = {"/v1/auth/login", "/v1/auth/challenge", "/v1/auth/verify", "/healthz", "/readyz", "/", "/static/{file}"}


def responders():
    for path, kind, suffix in ROUTES:
        for method in application.METHODS:
            name = f"on_{method.lower()}{f'_{suffix}' if suffix else ''}"
            if hasattr(kind, name):
                yield path, method, getattr(kind, name)


def test_an_application_is_made_without_any_connection():
    create_app(ApiConfig("postgresql://nowhere", "nats://nowhere", "redis://nowhere"))


def test_every_responder_declares_who_may_call_it():
    entries = [(path, declared(responder)) for path, _, responder in responders()]
    assert len(entries) > 30
    assert all(entry is not None for _, entry in entries)
    assert {path for path, entry in entries if entry is not None and entry.access is Access.PUBLIC} == PUBLIC


def test_a_responder_without_a_declaration_stops_the_start(monkeypatch):
    class Careless(Resource):
        async def on_get(self, _request, _response) -> None:
            """Anybody could call this."""

    monkeypatch.setattr(application, "ROUTES", (("/careless", Careless, None),))
    with pytest.raises(AssertionError, match="does not declare"):
        create_app(ApiConfig("postgresql://nowhere", "nats://nowhere", "redis://nowhere"))


def test_a_route_without_a_scope_stops_the_start(monkeypatch):
    class Novel(Resource):
        @endpoint(Access.USER, "Something new")
        async def on_get(self, call) -> None:
            """No scope speaks of this."""

    monkeypatch.setattr(application, "ROUTES", (("/v1/novel", Novel, None),))
    with pytest.raises(LookupError, match="no scope"):
        create_app(ApiConfig("postgresql://nowhere", "nats://nowhere", "redis://nowhere"))


def test_every_route_needs_a_scope_that_is_known():
    for path, method, responder in responders():
        if declared(responder).access is not Access.PUBLIC:
            assert scopes.needed(method, path) in {*scopes.SCOPES, scopes.ANY_TOKEN}


def test_a_scope_is_granted_by_its_name_its_area_or_everything():
    assert scopes.grants(["jobs:read"], "jobs:read")
    assert scopes.grants(["jobs:*"], "jobs:cancel")
    assert scopes.grants(["*"], "users:admin")
    assert scopes.grants([], scopes.ANY_TOKEN)
    for held in ([], ["jobs:read"], ["logs:*"], ["job:*"], ["jobs"], ["jobs:"]):
        assert not scopes.grants(held, "jobs:write")
    assert scopes.unknown(["jobs:read", "jobs:*", "*", "jobs", "everything:*", ""]) == ["jobs", "everything:*", ""]


def test_the_configuration_is_read_from_a_file(tmp_path):
    path = tmp_path / "api.json"
    urls = {"api_database_url": "postgresql://a", "nats_url": "nats://b", "redis_url": "redis://c"}
    path.write_text(json.dumps({**urls, "port": 1, "something_newer": True}))
    assert load_config(str(path)).port == 1
    for text in ("", "{}", json.dumps({**urls, "port": 70_000})):
        path.write_text(text)
        with pytest.raises(ConfigError):
            load_config(str(path))
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(str(tmp_path / "none.json"))


def unbounded(kind, path=""):
    """Yield where a document of this type takes a number of any size."""
    match kind:
        case inspect.IntType() | inspect.FloatType():
            if kind.le is None and kind.lt is None:
                yield path
        case inspect.StructType():
            for entry in kind.fields:
                yield from unbounded(entry.type, f"{path}.{entry.encode_name}")
        case inspect.UnionType():
            for one in kind.types:
                yield from unbounded(one, path)
        case inspect.DictType():
            yield from unbounded(kind.value_type, path)
        case inspect.ListType() | inspect.VarTupleType():
            yield from unbounded(kind.item_type, path)


def test_no_route_takes_a_number_that_no_column_holds():
    """Those of specs that are named here are bounded by `check`, each with a case of its own in test_spec_checks.py."""
    taken = {what for _, _, responder in responders() for what in (declared(responder).query, declared(responder).body)}
    types = [what for what in taken if isinstance(what, type)]
    assert len(types) > 30
    found = {path.removeprefix(".job") for what in types for path in unbounded(inspect.type_info(what))}
    assert found == {".array.max_failures", ".array.max_parallel", ".concurrency.limit", ".retry.not_on_exit"}
