"""The text of lmstat, compared with a sample of it and read by expressions that monitoring tools use."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.lmstat import text
from lsproxy.seat.messages import FeatureUsage, HolderUsage, MemberStatus, StatusReply

SAMPLE = """\
Flexible License Manager status on Thu 10/29/2026 17:44

License server status: 27000@lic1.example.com,27000@lic2.example.com
    License file(s) on lic1.example.com: sha256:77c2:

lic1.example.com: license server UP (MASTER) v11.19.6
lic2.example.com: license server UP v11.19.6

Vendor daemon status (on lic1.example.com):

     demo: UP v11.19.6

Feature usage info:

Users of f1:  (Total of 10 licenses issued;  Total of 6 licenses in use)

  "f1" v1.0, vendor: demo, expiry: 31-dec-2026
  floating license

    alice ws1.example.com /dev/tty (v1.0) (lic1.example.com/27000 101), start Thu 10/29 8:09
    bob ws2 /dev/tty (v1.0) (lic1.example.com/27000 102), start Thu 10/29 8:10, 5 licenses
    carol ws3 /dev/tty 1.0 (v1.0) (lic1.example.com/27000 103) queued for 1 license
Users of f2:  (Total of 0 licenses issued;  Total of 0 licenses in use)

"""


def holder(seat, user, host="ws1", **changes):
    usual = {
        "display": "/dev/tty",
        "pid": 115,
        "address": "127.0.0.1",
        "count": 1,
        "version": "1.0",
        "since": "2026-10-29T08:09:00Z",
        "state": "held",
    }
    return HolderUsage(seat, user, host, **{**usual, **changes})


def feature(name, issued=10, in_use=0, holders=(), **changes):
    usual = {"version": "1.0", "vendor": "demo", "reserved": 0, "queued": 0, "expires": "2026-12-31"}
    return FeatureUsage(feature=name, issued=issued, in_use=in_use, holders=list(holders), **{**usual, **changes})


def status(*members, backend=None, role="active"):
    members = [MemberStatus(name, f"10.0.0.{number}:27000", said) for number, (name, said) in enumerate(members)]
    return StatusReply(
        id=1,
        server="demo-licenses",
        backend=backend or members[0].backend,
        role=role,
        epoch=3,
        journal="b1f0",
        instance="77c2",
        revision=1,
        license="sha256:77c2",
        hostids=[],
        redundancy={},
        members=members,
        takeover=None,
        sessions=0,
        seats=0,
        now="2026-10-29T17:44:00Z",
        uptime=1.0,
        release="0.1.0",
    )


def test_a_feature_without_seats_is_not_uncounted():
    """It has expired, or has not begun: no license server grants seats that are not counted."""
    for day in ("2026-10-28", "2027-12-31", None):
        one = feature("other", issued=0, in_use=2, expires=day)
        lines = text.usage(PAIR, [one], UTC)
        assert "Users of other:  (Total of 0 licenses issued;  Total of 2 licenses in use)" in lines


PAIR = status(("lic1.example.com", "active"), ("lic2.example.com", "standby"))
HOLDERS = [
    holder(101, "alice", "ws1.example.com"),
    holder(102, "bob", "ws2", since="2026-10-29T08:10:00Z", count=5),
    holder(103, "carol", "ws3", state="queued"),
]


def everything(said, features):
    now = datetime(2026, 10, 29, 17, 44, tzinfo=UTC)
    lines = [*text.heading(now), *text.servers(said), *text.vendors(said, features), *text.usage(said, features, UTC)]
    return "\n".join(lines) + "\n"


def test_it_reads_like_the_sample():
    """Character by character, below the line with the copyright."""
    printed = everything(PAIR, [feature("f1", in_use=6, holders=HOLDERS), feature("f2", issued=0)])
    first, _, rest = printed.partition("\n")
    assert first.startswith("lmutil - Copyright ")
    assert rest == SAMPLE


def test_a_server_that_is_down():
    """The sentence with FlexNet's numbers, and no word of UP."""
    said = status(("lic1", "standby"), ("lic2", "active"), ("lic3", "down"), backend="lic2")
    lines = text.servers(said)
    assert lines[0] == "License server status: 27000@lic1,27000@lic2,27000@lic3"
    assert lines[3:6] == [
        "lic1: license server UP v11.19.6",
        "lic2: license server UP (MASTER) v11.19.6",
        'lic3: Cannot connect to license server system. (-15,570:115 "Operation now in progress")',
    ]
    assert text.vendors(said, [])[0] == "Vendor daemon status (on lic2):"


def test_the_vendor_is_down_while_nobody_is_active():
    """Also where a server is active in its own words only."""
    for said in (
        status(("lic1", "standby"), ("lic2", "down"), role="standby"),
        status(("lic1", "active"), role="isolated"),
        status(("lic1", "active"), role="blocked"),
    ):
        assert text.vendors(said, [feature("f1")])[2] == "     demo: The desired vendor daemon is down. (-97,121)"
        assert not text.is_served(said)


def test_a_standby_speaks_for_the_active_one():
    """The vendor is up on another server than the one that was asked."""
    said = status(("lic1", "active"), ("lic2", "standby"), backend="lic2", role="standby")
    assert text.vendors(said, [feature("f1")])[::2] == ["Vendor daemon status (on lic1):", "     demo: UP v11.19.6"]


def test_servers_differ_before_the_first_dot():
    """Where their names do not, the dots go."""
    lines = text.servers(status(("lic.north", "active"), ("LIC.south", "standby")))
    assert lines[0] == "License server status: 27000@lic-north,27000@LIC-south"
    assert lines[3] == "lic-north: license server UP (MASTER) v11.19.6"


def test_a_server_that_is_not_in_its_own_list_yet():
    """It stands there all the same."""
    said = status(("lic1", "down"), backend="lic2", role="standby")
    assert text.servers(said)[0] == "License server status: 27000@lic1,0@lic2"
    assert text.vendors(said, [])[0] == "Vendor daemon status (on lic2):"


def test_one_license_is_singular():
    """Of the issued and the used."""
    (line, _) = text.usage(PAIR, [feature("f1", 1, 1)], UTC)[2:]
    assert line == "Users of f1:  (Total of 1 license issued;  Total of 1 license in use)"


def test_a_feature_that_is_not_licensed_any_more_keeps_its_holders():
    """It has no version, no vendor, and nothing issued."""
    lines = text.usage(PAIR, [feature("f1", 0, 6, HOLDERS, vendor="", version="", expires=None)], UTC)
    assert lines[2] == "Users of f1:  (Total of 0 licenses issued;  Total of 6 licenses in use)"
    assert lines[4] == '  "f1" v0, vendor: -, expiry: permanent'
    assert len(lines) == 10


def test_the_table_has_its_columns():
    """What is permanent says only that."""
    lines = text.table([feature("f1"), feature("f2", 5, expires=None), feature("gone", 0, 1, vendor="")])
    assert [line.split() for line in lines] == [
        ["Feature", "Version", "#licenses", "Expires", "Vendor"],
        ["_______", "_______", "_________", "_______", "______"],
        ["f1", "1.0", "10", "31-dec-2026", "demo"],
        ["f2", "1.0", "5", "permanent", "demo"],
    ]


# --- two readers, as monitoring tools have them: one by the layout, one word by word ---


def between(line, before, after):
    """What stands between two pieces of a line."""
    return line.partition(before)[2].partition(after)[0]


def read_by_layout(printed):
    """The hosts that are up, and what is in use, held and queued of each feature, by indents and double spaces."""
    known, up, features, name = set(), set(), {}, ""
    for line in printed.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        if line.startswith("License server status: "):
            known = {one.split("@")[1].split(".")[0] for one in line.split(": ")[1].split(",")}
        elif ": license server UP" in line:
            assert line.split(":")[0].split(".")[0] in known
            up.add(line.split(":")[0])
        elif line.startswith("Users of ") and ":  (Total of " in line and " issued;  Total of " in line:
            name = between(line, "Users of ", ":  (")
            issued, used = between(line, "Total of ", " "), between(line, ";  Total of ", " ")
            features[name] = {"issued": int(issued), "used": int(used), "held": {}, "queued": {}}
        elif indent == 4 and "), start " in line:
            count = line.rpartition(", ")[2].removesuffix(" licenses")
            features[name]["held"][line.split()[0]] = int(count) if count.isdigit() else 1
        elif indent == 4 and ") queued for " in line:
            features[name]["queued"][line.split()[0]] = int(between(line, ") queued for ", " license"))
    return up, features


def read_by_word(printed):
    """The same by another way: splitting at what stands around a value."""
    up = {line.split(":")[0] for line in printed.splitlines() if ": license server UP" in line}
    features, lines = {}, iter(printed.splitlines())
    for line in lines:
        if line.startswith("Users of ") and "Total of" in line:
            name = line.split()[2].rstrip(":")
            issued, used = (int(part.split()[0]) for part in line.split("Total of ")[1:])
            features[name] = {"issued": issued, "used": used, "held": {}, "queued": {}}
        elif line.startswith("    ") and ", start " in line:
            words = line.split()
            features[name]["held"][words[0]] = int(words[-2]) if words[-1] == "licenses" else 1
        elif line.startswith("    ") and " queued for " in line:
            features[name]["queued"][line.split()[0]] = int(line.split()[-2])
    return up, features


def test_two_readers_find_everything():
    """Both read the same, and it is what was said."""
    printed = everything(PAIR, [feature("f1", in_use=6, holders=HOLDERS), feature("f_2-x", 1), feature("f3", 0)])
    assert read_by_layout(printed) == read_by_word(printed)
    up, features = read_by_layout(printed)
    assert up == {"lic1.example.com", "lic2.example.com"}
    assert features == {
        "f1": {"issued": 10, "used": 6, "held": {"alice": 1, "bob": 5}, "queued": {"carol": 1}},
        "f_2-x": {"issued": 1, "used": 0, "held": {}, "queued": {}},
        "f3": {"issued": 0, "used": 0, "held": {}, "queued": {}},
    }
    assert [line for line in printed.splitlines() if line.startswith("     ") and line[5] != " "] == [
        "     demo: UP v11.19.6"
    ]
    assert [line.split() for line in text.table([feature("f_2-x")]) if line.startswith("f_2-x")] == [
        ["f_2-x", "1.0", "10", "31-dec-2026", "demo"]
    ]


@given(st.text(min_size=1), st.text(min_size=1), st.text(), st.sampled_from(["held", "queued"]))
def test_no_name_makes_a_line_of_its_own(user, host, display, state):
    """Whatever a client calls itself, readers find one holder of one feature."""
    said = holder(101, user, host, display=display, state=state)
    printed = everything(PAIR, [feature("f1", in_use=1, holders=[said])])
    assert len(printed.splitlines()) == len(SAMPLE.splitlines()) - 3
    up, features = read_by_layout(printed)
    assert len(up) == 2
    assert list(features) == ["f1"]
    assert len(features["f1"]["queued" if state == "queued" else "held"]) == 1
