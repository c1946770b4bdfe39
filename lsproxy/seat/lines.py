"""Where does a line of the seat protocol end? Bytes in, whole lines out, never more than a bounded rest kept."""

REQUEST_LIMIT = 65_536
REPLY_LIMIT = 64 * 1024 * 1024


class LineSplitter:
    """Splits a stream into lines. `limit` is the most bytes a line may have, its newline not counted."""

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest: bytes | bytearray = b""

    def feed(self, arrived: bytes) -> list[bytes]:
        """
        The lines completed by `arrived`, without their newlines. A line past
        the limit ends it: the lines before it are given out, nothing after it.
        """
        rest = self._rest
        if rest is _OVERFLOW:
            return []
        if b"\n" not in arrived:
            self._keep(rest, arrived)
            return []
        lines = arrived.split(b"\n")
        if rest:
            lines[0] = bytes(rest) + lines[0]
        self._rest = b""
        last = lines.pop()
        if last:
            self._keep(b"", last)
        limit = self._limit
        if len(arrived) + len(rest) > limit:
            for number, line in enumerate(lines):
                if len(line) > limit:
                    self._rest = _OVERFLOW
                    return lines[:number]
        return lines

    @property
    def is_overflowing(self) -> bool:
        """Whether a line went past the limit: nothing more will come out."""
        return self._rest is _OVERFLOW

    def _keep(self, rest: bytes | bytearray, arrived: bytes) -> None:
        if len(rest) + len(arrived) > self._limit:
            self._rest = _OVERFLOW
        elif not rest:
            self._rest = arrived
        else:
            if isinstance(rest, bytes):
                rest = bytearray(rest)
            rest += arrived
            self._rest = rest


_OVERFLOW = bytearray(b"overflow")
