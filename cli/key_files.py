"""Key files as `consumer key create` and `ssh-keygen -t ed25519` make them; one that others could read is refused."""

import base64
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmsync.errors import Conflict, NotFound, RequestError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE_MAX: Final = 64 << 10


def default_path() -> Path:
    """Return where a key is when no file is named: beside the profiles."""
    from swarmsync.profiles import profile_path

    return profile_path(os.environ).parent / "key"


def create(path: Path) -> bytes:
    """Write a new private key, mode 0600, and its public half as PATH.pub; returns the public key's 32 bytes.

    Raises Conflict where a file is already: a key is never overwritten.
    """
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for place, content, mode in ((path, private, 0o600), (path.with_name(f"{path.name}.pub"), public + b"\n", 0o644)):
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        except FileExistsError:
            raise Conflict(f"{place} is there already; name another file with --file") from None
        except OSError as error:
            raise RequestError(f"cannot write {place}: {error.strerror}") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return key.public_key().public_bytes_raw()


def load_private(path: Path) -> "Ed25519PrivateKey":
    """Read a private key. Raises RequestError for a link, and for what belongs to others or can be read by them."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = read_private(path)
    try:
        load = forms.load_ssh_private_key if b"OPENSSH PRIVATE KEY" in content else forms.load_pem_private_key
        key = load(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RequestError(
            f"{path} is no private key without a passphrase; make one with: consumer key create"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RequestError(f"{path} is not an Ed25519 key; make one with: consumer key create")
    return key


def read_private(path: Path) -> bytes:
    """Read a file that only its owner, who is the caller, can read. What is checked is what is read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no key file {path}; make one with: consumer key create") from None
    except OSError as error:
        raise RequestError(f"cannot read the key file {path}: {error.strerror}; links are not followed") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RequestError(f"the key file {path} is not a plain file")
        if found.st_uid != os.geteuid():
            raise RequestError(f"the key file {path} belongs to somebody else")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise RequestError(f"others can read the key file {path}; make it yours alone with: chmod 600 {path}")
        return os.read(descriptor, FILE_MAX)
    finally:
        os.close(descriptor)


def load_public(path: Path) -> bytes:
    """Return the 32 bytes of a public key, from the file of it or of its private half."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if path.suffix != ".pub":
        return load_private(path).public_key().public_bytes_raw()
    try:
        key = forms.load_ssh_public_key(path.read_bytes()[:FILE_MAX])
    except FileNotFoundError:
        raise NotFound(f"there is no key file {path}") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot read the public key {path}: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise RequestError(f"{path} is not an Ed25519 key; make one with: consumer key create")
    return key.public_bytes_raw()


def as_text(public_key: bytes) -> str:
    return base64.b64encode(public_key).decode()
