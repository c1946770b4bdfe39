"""
What all validly signed lines of a license file allow to be granted together.

Lines with equal canonical text count once, so a line pasted twice adds nothing.
Feature names are compared exactly: `cad` and `CAD` are two features.
"""

from collections.abc import Iterable, Mapping
from datetime import date

from lsproxy.license.model import FeatureLine
from lsproxy.license.signature import VerifiedLicense, canonical_text
from lsproxy.license.terms import Pool, pool_of

__all__ = ["Pool", "pools", "shortfalls"]


def pools(verified: VerifiedLicense) -> dict[str, tuple[Pool, ...]]:
    """
    The pools of each feature, in the file's order, whatever their dates.

    Of a feature's FEATURE lines the first counts; every INCREMENT adds its pool.
    """
    found: dict[str, list[Pool]] = {}
    for line in _counting(verified):
        found.setdefault(line.feature, []).append(pool_of(line))
    return {feature: tuple(of_feature) for feature, of_feature in found.items()}


def shortfalls(verified: VerifiedLicense, in_use: Mapping[str, int], today: date) -> list[str]:
    """
    What the file does not grant on `today`, in UTC: a sentence if all of it has ended, else one for each feature of
    which more seats are `in_use`.
    """
    offered = pools(verified)
    going = {
        feature: sum(part.issued for part in parts if part.expires is None or part.expires >= today)
        for feature, parts in offered.items()
    }
    if all(part.expires is not None and part.expires < today for parts in offered.values() for part in parts):
        return ["every line of the new license has expired: nobody is granted a seat by it"]
    return [
        f"{feature}: {_seats(used)} in use, and the new license grants {going.get(feature, 0)}: nobody loses one,"
        " and nobody is granted one until enough are given back"
        for feature, used in sorted(in_use.items())
        if used > going.get(feature, 0)
    ]


def _seats(count: int) -> str:
    return "1 seat is" if count == 1 else f"{count} seats are"


def _counting(verified: VerifiedLicense) -> Iterable[FeatureLine]:
    counted: set[str] = set()
    with_feature_line: set[str] = set()
    for line in verified.good:
        text = canonical_text(verified.license, line)
        if text in counted or (line.keyword == "FEATURE" and line.feature in with_feature_line):
            continue
        counted.add(text)
        if line.keyword == "FEATURE":
            with_feature_line.add(line.feature)
        yield line
