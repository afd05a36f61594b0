"""`swarmsyncd backup`, `restore` and `upgrade`: the words for people and for programs around them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

import msgspec
import typer

from conf import settings as conf
from engine.backup.archive import Manifest

DataDir = Annotated[Path | None, typer.Option(help="where this Core keeps everything (SWARMSYNC_DATA_DIR)")]
Config = Annotated[Path | None, typer.Option(help="a TOML file; see conf/swarmsync.toml for all keys")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object instead of sentences")]
_MIB = 1 << 20


def backup(
    file: Annotated[Path, typer.Argument(help="the file to write, or a directory, where it gets a name of its own")],
    check: Annotated[bool, typer.Option("--check", help="read a backup, compare every byte's hash, list it")] = False,
    no_logs: Annotated[
        bool, typer.Option("--no-logs", help="leave out jobs' output and files, and the system log")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Write everything this Core holds into one file, while it runs; or --check one. The file holds secrets.

    Exit codes: 0 done; 1 --check found a file that was cut or changed; 3 it cannot be done; 5 the file exists; 6
    PostgreSQL does not answer.
    """
    if check:
        _check(file, as_json=as_json)
        return
    from engine.backup.taking import take

    settings = conf.load(config, data_dir=str(data_dir) if data_dir else None)
    with Counter("of the database") as tell:
        taken = take(settings, file, logs=not no_logs, tell=tell)
    if as_json:
        facts = {"file": str(taken.path), "bytes": taken.bytes, "seconds": round(taken.seconds, 3)}
        _print_json({**facts, "outside": taken.outside}, taken.manifest)
        return
    print(f"wrote {taken.path}: {taken.bytes / _MIB:.1f} MiB in {taken.seconds:.1f} s")
    _describe(taken.manifest)
    print("  it holds passwords, and the keys that open stored secrets: keep it where only you can read it")
    outside = [*taken.outside, *([str(config.absolute())] if config else [])]
    if outside:
        print(f"  not in it, keep copies: {', '.join(outside)}")


def restore(
    file: Annotated[Path, typer.Argument(help="a backup")],
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Bring back a backup into an empty data directory. Stop the Core that it was taken from before you start this one.

    Exit codes: 0 done; 1 the file was cut or changed; 3 it cannot be done; 5 something is there already; 6 PostgreSQL
    does not answer.
    """
    from engine.backup.restoring import restore as bring_back

    settings = conf.load(config, data_dir=str(data_dir) if data_dir else None)
    with Counter("of the file") as tell:
        done = bring_back(settings, file, tell)
    if as_json:
        facts = {"data_dir": str(settings.data_path), "seconds": round(done.seconds, 3), "upgraded": done.upgraded}
        _print_json(facts, done.manifest)
        return
    print(f"restored {file} into {settings.data_path} in {done.seconds:.1f} s")
    _describe(done.manifest)
    if done.upgraded:
        print(f"  upgraded        {', '.join(done.upgraded)}")
    print(f"  what was accepted or changed after {done.manifest.taken_at} is not in it")
    print("  the Core it was taken from must not run any more; people log in again, API tokens hold")
    own = f" --config {config.absolute()}" if config else ""
    print(f"  start           swarmsyncd --data-dir {settings.data_path}{own}")


def upgrade(
    check: Annotated[bool, typer.Option("--check", help="only say what would be done")] = False,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="take no backup first")] = False,
    backup_to: Annotated[
        Path | None, typer.Option("--backup", help="file or directory of the backup; DATA/backups by default")
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Bring the database of an earlier version to this one's schema, with a backup of how it was.

    Stop Core first; jobs on other machines go on meanwhile. Exit codes: 0 done, or nothing to do; 1 --check found
    something to do; 3 it cannot be done, or the database is newer than this version; 5 a Core works on it; 6 PostgreSQL
    does not answer.
    """
    from engine.backup import upgrading

    settings = conf.load(config, data_dir=str(data_dir) if data_dir else None)
    if check:
        schema = upgrading.look(settings)
        if as_json:
            print(msgspec.json.encode(schema).decode())
        else:
            _tell_schema(schema.here, schema.missing, "would run")
        raise typer.Exit(1 if schema.missing else 0)
    with Counter("of the database") as tell:
        done = upgrading.upgrade(settings, backup_to, backup=not no_backup, tell=tell)
    kept = str(done.backup.path) if done.backup else None
    if as_json:
        print(msgspec.json.encode({"here": done.schema.here, "ran": done.ran, "backup": kept}).decode())
        return
    if kept is not None:
        print(f"wrote {kept}: how it was before; it holds secrets")
    _tell_schema(done.schema.here, done.ran, "ran")


def _tell_schema(here: Sequence[str], more: Sequence[str], verb: str) -> None:
    print(f"the database has schema {here[-1].removesuffix('.sql')}; {verb}: {', '.join(more) or 'nothing'}")


def _check(file: Path, *, as_json: bool) -> None:
    from engine.backup import archive

    with Counter("of the file") as tell:
        manifest, _ = archive.check(file, tell)
    if as_json:
        _print_json({"file": str(file), "bytes": file.stat().st_size, "whole": True}, manifest)
        return
    print(f"{file} is whole: every byte is as it was written")
    _describe(manifest)
    for member in manifest.members:
        print(f"  {member.name:<20} {member.bytes:>14,} bytes  sha256 {member.sha256[:16]}...")


def _describe(manifest: Manifest) -> None:
    print(f"  taken           {manifest.taken_at} of server {manifest.server_id[:8]}, SwarmSync {manifest.version}")
    print(f"  schema          {manifest.schema[-1].removesuffix('.sql')}, PostgreSQL {manifest.database}")
    names = ("jobs", "users", "schedules", "secrets", "webhooks", "workers", "output_chunks", "log_records")
    rows = [f"{manifest.rows[name]:,} {name.replace('_', ' ')}" for name in names if name in manifest.rows]
    print(f"  rows            {', '.join(rows)}")
    if manifest.left_out:
        print(f"  left out        {', '.join(manifest.left_out)}")


def _print_json(facts: dict[str, object], manifest: Manifest) -> None:
    print(msgspec.json.encode({**facts, "manifest": manifest}).decode())


class Counter:
    """Shows on a terminal how far it is, for the length of a `with` block; a few times a second at most."""

    def __init__(self, what: str) -> None:
        self._what, self._shown = what, -1
        self._seen = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown >= 0:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def __call__(self, done: int) -> None:
        if self._seen and done >> 22 != self._shown:
            self._shown = done >> 22
            print(f"\r  {done / _MIB:,.0f} MiB {self._what}", end="", file=sys.stderr, flush=True)
