"""How a piece of somebody's text is shown in a sentence: on one line, in quotes, not long, nothing unprintable."""

from typing import Final

MOST_SHOWN: Final = 60


def shown(text: str) -> str:
    """`text` in quotes, escaped, its end left out beyond MOST_SHOWN characters."""
    return ascii(text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "...")
