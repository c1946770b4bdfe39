"""Regular expressions of the kinds that monitoring tools have, each read over all that lmstat prints."""

import re

import pytest

from lsproxy.lmstat import text
from tests.lsproxy.lmstat.test_text import HOLDERS, PAIR, everything, feature, holder, status

PRINTED = everything(
    status(("lic1.example.com", "active"), ("lic2.example.com", "standby"), ("lic3.example.com", "down")),
    [feature("f1", in_use=6, holders=HOLDERS), feature("f_2-x", 1, 1, [holder(9, "dom\\eve")]), feature("f3", 0)],
)

# As an exporter of metrics has them: whole lines, with every part named.
EXPORTER = {
    "server": r"^(?P<host>[\w.-]+): license server (?P<state>UP|DOWN)(?P<master> \(MASTER\))? (?P<version>v[\d.]+)$",
    "vendor": r"^ {5}(?P<vendor>\w+): (?P<state>UP) (?P<version>v[\d.]+)$",
    "feature": r"^Users of (?P<name>[\w-]+):  \(Total of (?P<issued>\d+) licenses? issued;  "
    r"Total of (?P<used>\d+) licenses? in use\)$",
    "user": r"^ {4}(?P<user>\S+) (?P<host>\S+) (?P<tty>\S+) \((?P<version>v[\d.]+)\) "
    r"\((?P<server>[\w.-]+)/(?P<port>\d+) (?P<handle>\d+)\), start (?P<since>\w{3} \d+/\d+ \d+:\d\d)"
    r"(?:, (?P<count>\d+) licenses)?$",
    "queued": r"^ {4}(?P<user>\S+) (?P<host>\S+) (?P<tty>\S+) (?P<asked>[\d.]+) \((?P<version>v[\d.]+)\) "
    r"\(\S+/\d+ \d+\) queued for (?P<count>\d+) licenses?$",
    "expiry": r'^ {2}"(?P<name>[\w-]+)" v(?P<version>[\d.]+), vendor: (?P<vendor>\w+), '
    r"expiry: (?P<expiry>\d{1,2}-\w{3}-\d{4}|permanent)$",
}


def found(expression, part):
    return [match[part] for match in re.finditer(expression, PRINTED, re.MULTILINE)]


@pytest.mark.parametrize(
    ("name", "part", "values"),
    [
        ("server", "host", ["lic1.example.com", "lic2.example.com"]),
        ("server", "master", [" (MASTER)", None]),
        ("vendor", "vendor", ["demo"]),
        ("feature", "name", ["f1", "f_2-x", "f3"]),
        ("feature", "used", ["6", "1", "0"]),
        ("user", "user", ["alice", "bob", "dom\\eve"]),
        ("user", "count", [None, "5", None]),
        ("user", "since", ["Thu 10/29 8:09", "Thu 10/29 8:10", "Thu 10/29 8:09"]),
        ("queued", "user", ["carol"]),
        ("expiry", "expiry", ["31-dec-2026", "31-dec-2026"]),
    ],
)
def test_exporter(name, part, values):
    """An exporter finds each line by its own expression, and no other line by it."""
    assert found(EXPORTER[name], part) == values


def test_plug_in():
    """A plug-in of a monitoring agent, which searches anywhere in a line and leaves spaces open, finds the same."""
    usage = re.findall(
        r"Users of (.*?):\s+\(Total of (\d+) licenses? issued;\s+Total of (\d+) licenses? in use", PRINTED
    )
    assert usage == [("f1", "10", "6"), ("f_2-x", "1", "1"), ("f3", "0", "0")]
    assert re.findall(r"(\S+):\s+license server UP\s+\(MASTER\)", PRINTED) == ["lic1.example.com"]
    assert re.findall(r"(\S+): Cannot connect to license server system\. \((-\d+),(\d+)", PRINTED) == [
        ("lic3.example.com", "-15", "570")
    ]


def test_line_by_line():
    """A script that splits at white space and punctuation finds hosts in the list of servers, by their first label."""
    (line,) = [line for line in PRINTED.splitlines() if line.startswith("License server status:")]
    listed = {entry.split("@")[1].split(".")[0] for entry in line.split(": ", 1)[1].split(",")}
    said = {match[1].split(".")[0] for match in re.finditer(r"^([\w.-]+): (?:license|Cannot)", PRINTED, re.MULTILINE)}
    assert listed == said == {"lic1", "lic2", "lic3"}
    assert re.search(r"^ {4}License file\(s\) on (\S+): (.+):$", PRINTED, re.MULTILINE)[1] == "lic1.example.com"


def test_vendor_down():
    """A vendor that is down is found by name and number."""
    printed = "\n".join(text.vendors(status(("lic1", "standby"), role="standby"), [feature("f1")]))
    assert re.findall(
        r"^\s+(\w+): (?:The desired )?vendor daemon is down\. \((-97),(\d+)\)", printed, re.MULTILINE
    ) == [("demo", "-97", "121")]
    assert text.is_served(PAIR)


def test_heading():
    """The day and the time of the heading are read as those of now."""
    read = re.search(
        r"^Flexible License Manager status on \w{3} (\d+)/(\d+)/(\d{4}) (\d+):(\d\d)$", PRINTED, re.MULTILINE
    )
    assert read.groups() == ("10", "29", "2026", "17", "44")
    assert re.match(r"lmutil - Copyright ", PRINTED)
