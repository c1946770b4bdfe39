"""
Who may call the admin API, and is this bearer token one of theirs?

tokens.yaml keeps names, roles and scrypt hashes, never a token. Verifying costs
some 50 ms and 16 MiB for every entry, on purpose: a caller that is asked often
remembers a digest of what it has verified, and verifies off the reactor.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from lsproxy.config.document import read_document
from lsproxy.config.leaves import Name, parse_name
from lsproxy.config.load import Finding, ask, build
from lsproxy.config.scalars import Leaf, UnfitValueError
from lsproxy.errors import LsproxyError
from lsproxy.secretfile import SecretMissingError, read_secret, write_secret

Role = Literal["viewer", "operator"]

SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_COST: Final = 14  # 2**14 rounds of 8 blocks: 16 MiB
_BLOCK: Final = 8
_LANES: Final = 1
# A cost past 2**16 would let one line of the file take the daemon's memory.
_HASH: Final = re.compile(r"scrypt:(1[0-6]):8:1:([A-Za-z0-9_-]{22}==):([A-Za-z0-9_-]{43}=)", re.ASCII)


def _read_hash(text: str, _folder: Path) -> str:
    if _HASH.fullmatch(text) is None:
        raise UnfitValueError("is no hash of a token, add one with: lsproxy token add NAME --role viewer")
    return text


class TokenExistsError(LsproxyError):
    """A token of that name is there already."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One line of tokens.yaml. `hash` is `scrypt:log2(rounds):blocks:lanes:salt:digest`, the last two in base64url."""

    name: Name
    role: Role
    hash: Annotated[str, Meta(extra={"leaf": Leaf('a hash "scrypt:…"', _read_hash)})]


class TokensFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of tokens.yaml."""

    tokens: tuple[Token, ...] = ()


def load_tokens(path: Path) -> tuple[Token, ...]:
    """
    The tokens of the file at `path`; none where it does not exist. Raises
    `SecretFileError` where others may read it, `ConfigError` for what is wrong in it.
    """
    try:
        read_secret(path)
    except SecretMissingError:
        return ()
    return build(read_document(path), TokensFile, _check).tokens


def add_token(path: Path, name: str, role: Role, token: str, salt: bytes) -> None:
    """
    Adds `token` to the file at `path`, which is made where it does not exist,
    mode 0600. `salt` is `SALT_BYTES` random bytes. Raises `TokenExistsError`, and
    `UnfitValueError` for a name that is none, and what `load_tokens` and `write_secret` raise.
    """
    parse_name(name)
    tokens = load_tokens(path)
    if any(one.name == name for one in tokens):
        raise TokenExistsError(f"{path} has a token named {name} already, choose another name")
    added = Token(name=name, role=role, hash=hash_token(token, salt))
    rows = [msgspec.to_builtins(one) for one in (*tokens, added)]
    write_secret(path, yaml.safe_dump({"tokens": rows}, sort_keys=False, width=1000))


def hash_token(token: str, salt: bytes) -> str:
    """What tokens.yaml keeps of `token`."""
    digest = _digest(token, salt, _COST)
    parts = (_COST, _BLOCK, _LANES, base64.urlsafe_b64encode(salt).decode(), base64.urlsafe_b64encode(digest).decode())
    return "scrypt:" + ":".join(str(part) for part in parts)


def is_token_of(token: str, kept: Token) -> bool:
    """Whether `kept` is the hash of `token`, in time that does not depend on how much of it is right."""
    found = _HASH.fullmatch(kept.hash)
    if found is None:
        return False
    cost, salt, digest = found.groups()
    expected = base64.urlsafe_b64decode(digest)
    return hmac.compare_digest(_digest(token, base64.urlsafe_b64decode(salt), int(cost)), expected)


def find_token(token: str, tokens: Iterable[Token]) -> Token | None:
    """The entry whose token this is. All are asked, so that time does not tell which one."""
    matching = [kept for kept in tokens if is_token_of(token, kept)]
    return matching[0] if matching else None


def _digest(token: str, salt: bytes, cost: int) -> bytes:
    # 130 * rounds * blocks: scrypt's own need and the little OpenSSL wants above it
    memory = 130 * 2**cost * _BLOCK + 2**16
    return hashlib.scrypt(
        token.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=2**cost,
        r=_BLOCK,
        p=_LANES,
        maxmem=memory,
        dklen=_DIGEST_BYTES,
    )


def _check(file: TokensFile) -> Iterator[Finding]:
    seen: set[str] = set()
    for position, token in enumerate(file.tokens):
        yield from ask(_is_new, position, token, seen)


def _is_new(position: int, token: Token, seen: set[str]) -> Iterator[Finding]:
    if token.name in seen:
        yield Finding(("tokens", position, "name"), f"{token.name} stands twice, give each token its own name")
    seen.add(token.name)
