"""The one root of everything that can go wrong in lsproxy and that a person is told in a sentence."""


class LsproxyError(Exception):
    """`str()` of it is one clear sentence: what is wrong, where, what would be right."""
