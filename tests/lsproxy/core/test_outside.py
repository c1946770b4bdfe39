"""Tests of binding judged from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.core.binding import Bound, Unbound, Unknown
from lsproxy.core.outside import Seen, bind, is_same_name
from lsproxy.license.hostid import ANY, Hostid, parse_hostid
from lsproxy.license.model import Problem
from lsproxy.license.thirdparty import Host, ThirdPartyLicense

CARD, OTHER_CARD = "02a1b2c3d4e5", "02ffffffffff"


def licensed(*hostids, name="fn-a", line=1):
    return ThirdPartyLicense("x.lic", (Host(name, hostids, 27000, line, "SERVER"),))


def ether(card=CARD):
    return Hostid("ether", card)


def hostname(name):
    return Hostid("hostname", name)


def seen(*names, cards=None, addresses=("192.0.2.10",)):
    return Seen(frozenset(addresses), frozenset(names), frozenset(cards) if cards else None)


def test_a_card_seen_at_the_address_binds():
    """The neighbour's card is the SERVER line's: bound, whatever the names are."""
    assert bind(licensed(ether(), name="elsewhere"), seen("fn-a", cards=[CARD])) == Bound(
        f"SERVER line 1 of x.lic: {CARD} is its network card"
    )


def test_another_card_at_the_address_does_not_bind():
    """The neighbour's card is another one: unbound, and the sentence says which was seen."""
    verdict = bind(licensed(ether()), seen("fn-a", cards=[OTHER_CARD]))
    assert isinstance(verdict, Unbound)
    assert "line 1" in verdict.reason
    assert CARD in verdict.reason
    assert OTHER_CARD in verdict.reason


def test_a_card_behind_a_router_is_unknown():
    """No neighbour, no verdict: the name of the line may be edited and says nothing."""
    for names in (["fn-a"], ["other"]):
        assert isinstance(bind(licensed(ether()), seen(*names)), Unknown)


def test_a_declared_card_binds():
    """What the configuration declares is believed, also against the card that was seen: hosts have several."""
    verdict = bind(licensed(ether()), seen(cards=[OTHER_CARD]), [parse_hostid("02:a1:b2:c3:d4:e5")])
    assert isinstance(verdict, Bound)


def test_another_declared_card_does_not_bind():
    """The hostids declared of one kind are all of that kind."""
    assert isinstance(bind(licensed(ether()), Seen(), [ether(OTHER_CARD)]), Unbound)
    assert isinstance(bind(licensed(ether()), Seen(), [hostname("fn-a")]), Unknown)


@pytest.mark.parametrize("wanted", ["fn-a", "FN-A", "fn-a.example.com", "fn-a."])
def test_a_name_binds_short_or_in_full(wanted):
    """A HOSTNAME is compared without case, and up to the first dot where one of the two has no more."""
    assert isinstance(bind(licensed(hostname(wanted)), seen("fn-a.example.com")), Bound)


def test_a_name_of_another_domain_does_not_bind():
    """Two names in full are compared in full."""
    assert isinstance(bind(licensed(hostname("fn-a.example.org")), seen("fn-a.example.com")), Unbound)


def test_a_name_is_unbound_only_where_names_are_known():
    """DNS did not answer, or has no name for the address: unknown."""
    assert isinstance(bind(licensed(hostname("fn-a")), seen("fn-b")), Unbound)
    assert isinstance(bind(licensed(hostname("fn-a")), seen()), Unknown)
    assert isinstance(bind(licensed(hostname("fn-a")), Seen(frozenset({"192.0.2.10"}))), Unknown)


def test_the_configured_name_binds():
    """The host of the address and the server_name are believed; an address among them is no name."""
    assert isinstance(bind(licensed(hostname("licenses")), seen("fn-b"), called=["192.0.2.10", "licenses"]), Bound)
    assert isinstance(bind(licensed(hostname("192")), seen("fn-b"), called=["192.0.2.10"]), Unbound)


def test_a_certificate_proves_a_name():
    """A TLS certificate's name binds as one of DNS does, its asterisk for one label."""
    for proven in ("fn-a.example.com", "*.example.com"):
        look = Seen(None, frozenset({"other"}), None, frozenset({proven}))
        assert isinstance(bind(licensed(hostname("fn-a.example.com")), look), Bound)
        assert not isinstance(bind(licensed(hostname("fn-a.sub.example.com")), look), Bound)


def test_case_counts_for_citrix():
    """A configured name in the wrong case is unbound with the reason, one that only DNS says is unknown."""
    wrong = bind(licensed(hostname("CTX-A")), Seen(), called=["ctx-a"], is_case_kept=True)
    assert isinstance(wrong, Unbound)
    assert "upper and lower case count" in wrong.reason
    assert isinstance(bind(licensed(hostname("CTX-A")), seen("ctx-a.example.com"), is_case_kept=True), Unknown)
    assert isinstance(bind(licensed(hostname("CTX-A")), seen("ctx-a"), called=["CTX-A"], is_case_kept=True), Bound)
    assert isinstance(bind(licensed(hostname("CTX-A")), seen("CTX-A"), called=["ctx-a"], is_case_kept=True), Bound)
    assert isinstance(bind(licensed(hostname("CTX-A")), seen("other"), is_case_kept=True), Unbound)


def test_any_of_a_triad_binds():
    """Three SERVER lines: a backend that is one of them may serve."""
    hosts = tuple(Host(f"fn-{n}", (hostname(f"fn-{n}"),), 27000, n, "SERVER") for n in range(1, 4))
    triad = ThirdPartyLicense("x.lic", hosts)
    assert bind(triad, seen("fn-3")) == Bound("SERVER line 3 of x.lic: HOSTNAME=fn-3 is its name")
    unbound = bind(triad, seen("fn-4"))
    assert isinstance(unbound, Unbound)
    assert all(f"line {n}" in unbound.reason for n in range(1, 4))


def test_any_binds_every_host():
    """ANY locks the file to nothing, whatever name stands beside it: that is often the proxy's."""
    for name in ("this_host", "fn-a", "licenses.example.com", "192.0.2.11"):
        assert isinstance(bind(licensed(ANY, name=name), seen("x")), Bound)


def test_an_address_binds():
    """INTERNET= is compared with the addresses of the backend, an asterisk fits any number."""
    assert isinstance(bind(licensed(Hostid("internet", "192.0.2.10")), seen("x")), Bound)
    assert isinstance(bind(licensed(Hostid("internet", "192.0.2.*")), seen("x")), Bound)
    assert isinstance(bind(licensed(Hostid("internet", "192.0.3.*")), seen("x")), Unbound)
    assert isinstance(bind(licensed(Hostid("internet", "192.0.2.10")), Seen()), Unknown)


def test_opaque_hostids_bind_by_declaration_alone():
    """What nobody can see from outside is unknown until it is declared, in any case."""
    dongle = Hostid("id", "FLEXID=9-b28520b9")
    assert isinstance(bind(licensed(dongle), seen("fn-a", cards=[CARD])), Unknown)
    assert isinstance(bind(licensed(dongle), Seen(), [parse_hostid("ID=flexid=9-B28520B9")]), Bound)
    assert isinstance(bind(licensed(dongle), Seen(), [parse_hostid("ID=flexid=9-other")]), Unbound)
    assert isinstance(bind(licensed(dongle), Seen(), [parse_hostid("ID=VM_UUID=1")]), Unknown)


def test_one_of_several_hostids_is_enough():
    """With one that cannot be seen among others that do not fit, it stays unknown."""
    dongle = Hostid("id", "FLEXID=9-b28520b9")
    assert isinstance(bind(licensed(ether(), ether(OTHER_CARD)), seen(cards=[OTHER_CARD])), Bound)
    assert isinstance(bind(licensed(ether(), dongle), seen(cards=[OTHER_CARD])), Unknown)


def test_a_file_not_wholly_understood_keeps_nobody_out():
    """A SERVER line that cannot be read may be this backend's."""
    broken = ThirdPartyLicense("x.lic", licensed(hostname("fn-a")).hosts, problems=(Problem("x.lic", 2, "no hostid"),))
    verdict = bind(broken, seen("fn-b"))
    assert isinstance(verdict, Unknown)
    assert verdict.reason.startswith("x.lic:2: no hostid")


def test_a_file_that_names_nobody_is_unknown():
    """Without a host line there is nothing to compare; if one could not be read, that is the reason."""
    assert isinstance(bind(ThirdPartyLicense("x.lic", ()), seen("fn-a")), Unknown)
    broken = ThirdPartyLicense("x.lic", (), problems=(Problem("x.lic", 2, "no hostid"),))
    assert bind(broken, seen("fn-a")) == Unknown("x.lic:2: no hostid")


def test_other_declared_names_do_not_bind():
    """A declared name is all the names there are, unless another one is seen."""
    assert isinstance(bind(licensed(hostname("fn-a")), Seen(), [hostname("fn-b")]), Unbound)
    assert isinstance(bind(licensed(hostname("fn-a")), seen("fn-a"), [hostname("fn-b")]), Bound)


names = st.sampled_from(["fn-a", "fn-b", "FN-A", "fn-a.example.com", "192.0.2.10"])
hostids = st.one_of(
    st.just(ANY),
    st.builds(hostname, names),
    st.sampled_from([ether(), ether(OTHER_CARD), Hostid("internet", "192.0.2.10"), Hostid("id", "VM_UUID=1")]),
)
looks = st.builds(
    Seen,
    st.none() | st.frozensets(st.sampled_from(["192.0.2.10", "::1"])),
    st.none() | st.frozensets(names),
    st.none() | st.frozensets(st.sampled_from([CARD, OTHER_CARD])),
    st.none() | st.frozensets(st.sampled_from(["fn-a", "*.example.com"])),
)


@given(st.lists(hostids, max_size=3), looks, st.lists(hostids, max_size=2), st.lists(names, max_size=2), st.booleans())
def test_whatever_the_license_wants_may_be_declared(wanted, look, declared, called, is_case_kept):
    """Every file with a hostid is bound once it is declared, and each verdict is one sentence."""
    license_file = licensed(*wanted)
    verdict = bind(license_file, look, declared, called, is_case_kept=is_case_kept)
    assert verdict.reason
    assert "\n" not in verdict.reason
    if wanted:
        assert isinstance(bind(license_file, look, [*declared, wanted[0]], called, is_case_kept=is_case_kept), Bound)


@given(st.lists(hostids, min_size=1, max_size=3))
def test_what_was_not_looked_at_keeps_nobody_out(wanted):
    """Blind, nothing is unbound."""
    assert not isinstance(bind(licensed(*wanted), Seen()), Unbound)


@given(names, names)
def test_sameness_of_names_has_no_direction(one, other):
    """What is the same name one way is so the other way."""
    assert is_same_name(one, other) == is_same_name(other, one)
