"""
How bytes are spelt so that a person can read them out and type them in: Crockford's base32.

    K5X2M-0ABJ9-7QRT*

Five bits to a symbol, the highest first, zeros behind the last bit; after them one
check symbol, which is the number all symbols spell, modulo 37. It finds every
single wrong symbol and every two neighbours that changed places. Groups of five,
joined by hyphens. Typed in any case, with O for 0 and I or L for 1, and with
hyphens and blanks anywhere or nowhere. Source: https://www.crockford.com/base32.html
"""

from typing import Final

import msgspec

from lsproxy.license.shown import shown

MOST_CHARACTERS: Final = 1024

_SYMBOLS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHECK_SYMBOLS: Final = _SYMBOLS + "*~$=U"
_BITS: Final = 5
_GROUP: Final = 5
_READ_AS: Final = str.maketrans(
    {"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\t": None, "\r": None, "\n": None}
)


class Mistyped(msgspec.Struct, frozen=True):
    """What was typed spells no bytes; `reason` is the end of a sentence that begins with what it ought to be."""

    reason: str


def spell(content: bytes) -> str:
    """`content`, not empty, as symbols in groups of five with their check symbol."""
    spare = -8 * len(content) % _BITS
    number = int.from_bytes(content) << spare
    length = (8 * len(content) + spare) // _BITS
    symbols = "".join(_SYMBOLS[number >> _BITS * place & (1 << _BITS) - 1] for place in reversed(range(length)))
    symbols += _CHECK_SYMBOLS[number % len(_CHECK_SYMBOLS)]
    return "-".join(symbols[start : start + _GROUP] for start in range(0, len(symbols), _GROUP))


def unspell(typed: str) -> bytes | Mistyped:
    """The bytes that `spell` made `typed` from, however it is typed."""
    if len(typed) > MOST_CHARACTERS:
        return Mistyped(f"has at most {MOST_CHARACTERS} characters, and this has {len(typed)}")
    symbols = (typed.upper() if typed.isascii() else typed).translate(_READ_AS)
    if not symbols:
        return Mistyped("is groups of five letters and digits, and this is empty")
    body, check = symbols[:-1], symbols[-1]
    strange = next((symbol for symbol in body if symbol not in _SYMBOLS), None)
    if strange is None and check not in _CHECK_SYMBOLS:
        strange = check
    if strange is not None:
        return Mistyped(f"is made of digits and letters but U, and this holds {shown(strange)}")
    number = 0
    for symbol in body:
        number = number << _BITS | _SYMBOLS.index(symbol)
    if _CHECK_SYMBOLS[number % len(_CHECK_SYMBOLS)] != check:
        return Mistyped(f"ends in a symbol that checks the others, and {check} does not fit them: one is mistyped")
    spare = _BITS * len(body) % 8
    if not body or spare >= _BITS or number & (1 << spare) - 1:
        return Mistyped(f"has another length than {len(symbols)} symbols: its beginning or its end is missing")
    return (number >> spare).to_bytes(_BITS * len(body) // 8)
