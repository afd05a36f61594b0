"""What a webhook may be, where it may lead, and how what is sent to it is signed (Standard Webhooks).

An address is judged twice: what a person writes when it is written, and what a name resolves to at the moment of the
connection (`refusal`), so that a name that changes its mind in between gains nothing.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from swarmsync.model.lifecycle import FINAL, JobState

Network = IPv4Network | IPv6Network
URL_MAX: Final = 2_048
SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 what Standard Webhooks puts before a key
TEST_TYPE: Final = "webhook.test"
STATES: Final = tuple([state.value for state in JobState])
FINAL_STATES: Final = tuple([state.value for state in FINAL])
#: Where clouds hand out credentials; no setting allows these.
METADATA: Final = frozenset(
    ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
_GLOBAL_6: Final = IPv6Network("2000::/3")
_CARRIERS: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks, such as 10.0.0.0/8. Raises ValueError."""
    return tuple([ip_network(text) for text in texts])


def refusal(address: str, allowed: Sequence[Network]) -> str:
    """Say why nothing is sent to this address; empty when it may be."""
    ip = ip_address(address.partition("%")[0])
    carried = _carried(ip)
    if carried is not None:
        return refusal(str(carried), allowed)
    if ip in METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return f"{ip} is an address that nothing is ever sent to (link-local, multicast, or a cloud's metadata)"
    if any(ip in network for network in allowed):
        return ""
    if ip.is_global and (ip.version == 4 or ip in _GLOBAL_6):
        return ""
    return f"{ip} is no public address; an administrator may allow its network with webhooks.allow_networks"


def _carried(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one: what would be reached in the end."""
    if isinstance(ip, IPv4Address):
        return None
    if any(ip in network for network in _CARRIERS) and int(ip) > 1:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def url_problem(url: str, allowed: Sequence[Network]) -> str:
    """Say what is wrong with a webhook's URL; empty when nothing is."""
    if len(url) > URL_MAX or not url.isascii() or any(letter <= " " or letter in '"<>\\^`{|}\x7f' for letter in url):
        return f"is no URL of up to {URL_MAX} ASCII characters without spaces"
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname
    except ValueError:
        return "is no URL; write it like https://example.org/hooks"
    if parts.scheme not in ("http", "https") or not name or port == 0:
        return "is no address of HTTP; write it like https://example.org/hooks"
    if "@" in parts.netloc:
        return "has a login in it, which would be shown in lists; check the signature instead"
    if parts.fragment:
        return "has a fragment (#...), which HTTP does not send"
    try:
        return refusal(name, allowed)
    except ValueError:
        return ""  # a name, judged when it is resolved


def secret_text(secret: bytes) -> str:
    return SECRET_PREFIX + b64encode(secret).decode()


def signature(secret: bytes, message_id: str, at_s: int, body: bytes) -> str:
    """Return the header `webhook-signature`: version 1 is HMAC-SHA256 over `id.timestamp.body`."""
    content = f"{message_id}.{at_s}.".encode() + body
    return f"v1,{b64encode(hmac.new(secret, content, sha256).digest()).decode()}"


def purpose(webhook_id: int) -> str:
    """What a webhook's key is sealed for."""
    return f"webhook:{webhook_id}"
