"""
What all validly signed lines of a license file allow to be granted together.

Lines with equal canonical text count once, so a line pasted twice adds nothing.
Feature names are compared exactly: `cad` and `CAD` are two features.
"""

from collections.abc import Iterable

from lsproxy.license.model import FeatureLine
from lsproxy.license.signature import VerifiedLicense, canonical_text
from lsproxy.license.terms import Pool, pool_of

__all__ = ["Pool", "pools"]


def pools(verified: VerifiedLicense) -> dict[str, tuple[Pool, ...]]:
    """
    The pools of each feature, in the file's order, whatever their dates.

    Of a feature's FEATURE lines the first counts; every INCREMENT adds its pool.
    """
    found: dict[str, list[Pool]] = {}
    for line in _counting(verified):
        found.setdefault(line.feature, []).append(pool_of(line))
    return {feature: tuple(of_feature) for feature, of_feature in found.items()}


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
