"""When a seat is worth what."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.client.trust import Grace, Lost, Trusted, lost_at, standing

seconds = st.floats(0, 1e6)


def test_spans():
    """A seat proved at 100 with 42 s of trust and 60 s of grace is trusted, then in its grace, then lost."""
    assert standing(100.0, 42.0, 60.0, 141.9) == Trusted(142.0)
    assert standing(100.0, 42.0, 60.0, 142.0) == Grace(202.0)
    assert standing(100.0, 42.0, 60.0, 201.9) == Grace(202.0)
    assert standing(100.0, 42.0, 60.0, 202.0) == Lost("no license server could be reached for 102 s")


@given(seconds, seconds, seconds, seconds)
def test_its_own_deadline_moves_it_on(proved_at, trust, grace, now):
    """Asked again at the moment a standing ends, it is another one; asked at `lost_at`, it is lost."""
    match standing(proved_at, trust, grace, now):
        case Trusted(until):
            assert until > now
            assert not isinstance(standing(proved_at, trust, grace, until), Trusted)
        case Grace(until):
            assert until > now
            assert isinstance(standing(proved_at, trust, grace, until), Lost)
    assert isinstance(standing(proved_at, trust, grace, lost_at(proved_at, trust, grace)), Lost)
