"""`audit`: who did what to whom, and whether anybody has touched that log."""

import re
from typing import Annotated, Any

import typer

from cli import cells, exits
from cli.bundles import bundled, examples
from cli.documents import AuditVerdict
from cli.output import Column, ListView, OneView, pages_of, show_list, show_one
from cli.profiles import connect
from cli.times import since_filter

app = typer.Typer()


def _detail(entry: dict[str, Any], _now: Any) -> str:
    return cells.plain(" ".join(f"{name}={value}" for name, value in (entry.get("detail") or {}).items()))


COLUMNS = (
    Column("seq"),
    Column("at", lambda entry, _now: cells.instant(entry.get("at"), fraction=3)),
    Column("user"),
    Column("action"),
    Column("subject"),
    Column("detail", _detail),
    Column("hash", wide=True),
)


@app.command("list", epilog=examples("consumer audit list --since 1d", "consumer audit list --action denied -o json"))
@bundled
def list_entries(
    view: ListView,
    user: Annotated[str, typer.Option("--user", help="What this user did.")] = "",
    action: Annotated[str, typer.Option("--action", help="Such as 'login refused', denied, 'token created'.")] = "",
    since: Annotated[str, typer.Option("--since", help="Since: 2h, or a time.")] = "",
) -> None:
    """List the audit log, newest first."""
    with connect() as client:
        filters = {"user": user, "action": action, "since": since_filter(since)}
        show_list(view, COLUMNS, pages_of(client, "/v1/audit", filters))


@app.command("verify", epilog=examples("consumer audit verify", "consumer audit verify --head 812:9f2c..."))
@bundled
def verify(
    view: OneView,
    head: Annotated[
        str, typer.Option("--head", metavar="SEQ:HASH", help="What verify printed before and you wrote down elsewhere.")
    ] = "",
) -> None:
    """Recompute the chain of hashes; exit code 1 when an entry was changed or is missing.

    Write the printed head down on another machine: with it you find out even about a log that was written anew as a
    whole.
    """
    known = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", head)
    if head and known is None:
        raise typer.BadParameter("write it as SEQ:HASH, as verify prints it", param_hint="--head")
    with connect(30.0) as client:
        found = _walk(client, (int(known[1]), known[2]) if known else None)
    show_one(view, dict(found), _sentence)
    if not found["ok"]:
        raise typer.Exit(exits.ANSWER_IS_NO)


def _walk(client: Any, head: tuple[int, str] | None) -> AuditVerdict:
    """Check page by page, with a stop at the entry that the caller knows."""
    seq, digest, entries = 0, "", 0
    while True:
        limit = 10_000 if head is None or seq >= head[0] else min(10_000, head[0] - seq)
        query = {"after": seq, "hash": digest, "limit": limit} if seq else {"limit": limit}
        page: dict[str, Any] = client.get("/v1/audit/verify", query, timeout_s=60)
        seq, digest, entries = page["seq"], page["hash"], entries + page["entries"]
        found: AuditVerdict = {"ok": page["ok"], "entries": entries, "head": f"{seq}:{digest}", "wrong": page["wrong"]}
        if head is not None and seq == head[0] and digest != head[1]:
            return {**found, "ok": False, "wrong": f"entry {seq} has another hash than you wrote down"}
        if not page["ok"]:
            return found
        if not page["more"]:
            if head is not None and seq < head[0]:
                return {**found, "ok": False, "wrong": f"the log ends at entry {seq}, before the one you wrote down"}
            return found


def _sentence(found: dict[str, Any]) -> str:
    if found["ok"]:
        return f"{found['entries']} entries fit; the head is {found['head']}\n"
    return f"the audit log was tampered with: {cells.plain(found['wrong'])}; up to there the head is {found['head']}\n"
