"""What PostgreSQL's settings promise for an acknowledged job, and what to do where that is too little. Pure."""

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Durability(StrEnum):
    """What an acknowledged job outlives."""

    NOTHING = "nothing"  # a crash of the server or of its machine may lose it
    MACHINE = "machine"  # crashes and power cuts, not the loss of the disk
    REPLICATED = "replicated"  # the loss of the machine, too


class Judgement(Struct, frozen=True):
    durability: Durability
    sentence: str
    remedy: str


#: As the server spells them. The first one that is off says why.
SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")


def judge(fsync: str, full_page_writes: str, synchronous_commit: str, standby_names: str) -> Judgement:
    """Judge the values of SETTINGS."""
    off = [name for name, value in (("fsync", fsync), ("full_page_writes", full_page_writes)) if value == "off"]
    if off:
        return Judgement(
            Durability.NOTHING,
            f"{' and '.join(off)} off: a crash of the machine can lose acknowledged jobs, and the whole database",
            f"set {' and '.join(f'{name} = on' for name in off)} in postgresql.conf and reload",
        )
    if synchronous_commit == "off":
        return Judgement(
            Durability.NOTHING,
            "fsync on, synchronous_commit off: a crash can lose jobs of the last moments that were acknowledged",
            "set synchronous_commit = on in postgresql.conf and reload",
        )
    if standby_names.strip() and synchronous_commit in ("on", "remote_apply", "remote_write"):
        lost = "; remote_write: not a crash of both at once" if synchronous_commit == "remote_write" else ""
        return Judgement(
            Durability.REPLICATED,
            f"fsync on, synchronous_commit {synchronous_commit}, synchronous standby {standby_names}{lost}",
            "",
        )
    waits = f", standby {standby_names} is not waited for" if standby_names.strip() else ", no synchronous standby"
    return Judgement(
        Durability.MACHINE,
        f"fsync on, synchronous_commit {synchronous_commit}{waits}: jobs outlive crashes, not the loss of the disk",
        "to outlive that, too, give PostgreSQL a standby and name it in synchronous_standby_names",
    )
