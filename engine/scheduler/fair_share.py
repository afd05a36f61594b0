"""How much of the cluster each user has had lately: the dominant share, smoothed over time, by the user's weight.

A user's dominant share is the largest of its shares of cpus, memory and gpus (Ghodsi et al., NSDI'11). What it was
before is forgotten with a half-life, so a user who was away owes and is owed nothing.
"""

from math import exp, log
from typing import Final

from swarmsync.model.resources import NOTHING, Need

HALF_LIFE_MS: Final = 21_600_000
_DECAY: Final = log(2) / HALF_LIFE_MS
_FORGOTTEN: Final = 1e-6


class _Account:
    __slots__ = ("_share", "at_ms", "cpus_milli", "gpus", "memory_bytes", "past", "total")

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.past = 0.0
        self.total: Need = NOTHING  # of which its part is a share
        self.cpus_milli = self.memory_bytes = self.gpus = 0  # since at_ms
        self._share: float | None = 0.0

    def change(self, need: Need, sign: int, total: Need) -> None:
        self.cpus_milli += sign * need.cpus_milli
        self.memory_bytes += sign * need.memory_bytes
        self.gpus += sign * need.gpus
        self.total, self._share = total, None

    @property
    def share(self) -> float:
        """What it has since `at_ms`; worked out when it is asked for, which is rarer than changes."""
        if self._share is None:
            self._share = max(
                self.cpus_milli / (self.total.cpus_milli or 1),
                self.memory_bytes / (self.total.memory_bytes or 1),
                self.gpus / (self.total.gpus or 1),
            )
        return self._share


class FairShare:
    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}

    def hold(self, user_id: int, need: Need, total: Need, now_ms: int) -> None:
        account = self._accounts.get(user_id)
        if account is None:
            account = self._accounts[user_id] = _Account(now_ms)
        elif now_ms > account.at_ms:
            self._settle(account, now_ms)
        account.change(need, 1, total)

    def release(self, user_id: int, need: Need, total: Need, now_ms: int) -> None:
        account = self._accounts.get(user_id)
        if account is None:
            return
        if now_ms > account.at_ms:
            self._settle(account, now_ms)
        account.change(need, -1, total)

    def inherit(self, old: "FairShare", now_ms: int) -> None:
        """Take over what users have had; what they hold now is told anew."""
        for user_id, past in old.pasts(now_ms).items():
            self._accounts[user_id] = _Account(now_ms)
            self._accounts[user_id].past = past

    def pasts(self, now_ms: int) -> dict[int, float]:
        for account in self._accounts.values():
            self._settle(account, now_ms)
        return {user_id: account.past for user_id, account in self._accounts.items()}

    def level(self, user_id: int, weight: int, now_ms: int) -> float:
        """Return what the user has had; who has less goes first. What runs now counts at once, not only in time."""
        account = self._accounts.get(user_id)
        if account is None:
            return 0.0
        self._settle(account, now_ms)
        if account.past < _FORGOTTEN and account.share == 0:
            del self._accounts[user_id]
            return 0.0
        return (account.past + account.share) / weight

    def _settle(self, account: _Account, now_ms: int) -> None:
        if now_ms > account.at_ms:
            kept = exp(-_DECAY * (now_ms - account.at_ms))
            account.past = account.past * kept + account.share * (1.0 - kept)
            account.at_ms = now_ms


def dominant(holds: Need, total: Need) -> float:
    return max(
        holds.cpus_milli / total.cpus_milli if total.cpus_milli else 0.0,
        holds.memory_bytes / total.memory_bytes if total.memory_bytes else 0.0,
        holds.gpus / total.gpus if total.gpus else 0.0,
    )
