"""The commands keygen, sign, verify, hostid and issue-key, as a person types them."""

import json
import os
import re
import stat

import pytest
from click.testing import CliRunner

from licserver.filecommands import hostid, issue_key, keygen, sign, verify_command
from lsproxy.license.activation import check_activation_key, make_request, request_key
from lsproxy.license.hostid import parse_hostid
from lsproxy.license.keys import load_public_key

LICENSE = """\
# acme.lic
SERVER lic-a HOSTNAME=lic-a 27101
VENDOR acme
INCREMENT cad acme 2027.0 permanent 25 SN=1
INCREMENT old acme 2027.0 1-jan-2001 25 SN=2
INCREMENT new acme 2027.0 31-dec-9999 25 START=1-dec-9999
"""


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path):
    """A folder with a key pair and an unsigned license."""
    assert run(keygen, "--out", tmp_path / "acme").exit_code == 0
    (tmp_path / "acme.lic").write_text(LICENSE)
    return tmp_path


def test_keygen(folder):
    """The private key is its owner's alone, whatever the umask; neither key is printed."""
    assert stat.S_IMODE((folder / "acme.key").stat().st_mode) == 0o600
    before = os.umask(0)
    try:
        result = run(keygen, "--out", folder / "other")
    finally:
        os.umask(before)
    assert result.exit_code == 0
    assert stat.S_IMODE((folder / "other.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in result.output
    assert (folder / "other.pub").read_text().startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize("existing", ["acme.key", "acme.pub"])
def test_keygen_overwrites_nothing(tmp_path, existing):
    """An existing file of the pair stays as it is, and nothing else is made."""
    (tmp_path / existing).write_text("mine")
    result = run(keygen, "--out", tmp_path / "acme")
    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path / existing} exists and is not overwritten; remove it or choose another --out\n"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_keygen_by_halves(tmp_path):
    """Where the public key cannot be written no private key stays behind."""
    (tmp_path / "acme.pub").symlink_to("nowhere")
    assert run(keygen, "--out", tmp_path / "acme").exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["acme.pub"]


def test_keygen_nowhere(tmp_path):
    """A folder that does not exist is a sentence."""
    result = run(keygen, "--out", tmp_path / "none" / "acme")
    assert result.exit_code == 2
    assert "acme.key: the key cannot be written: No such file or directory" in result.stderr


def test_sign_and_verify(folder):
    """A license signed in place keeps its permissions and verifies; each line is told, with its dates."""
    path = folder / "acme.lic"
    path.chmod(0o640)
    result = run(sign, path, "--key", folder / "acme.key")
    assert result.exit_code == 0, result.output
    assert re.search(r"3 lines signed, sha256:[0-9a-f]{64}\n$", result.stdout)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in folder.iterdir()) == ["acme.key", "acme.lic", "acme.pub"]
    result = run(verify_command, path, "--key", folder / "acme.pub")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        f"{path}:4: cad 2027.0, 25 seats: served",
        f"{path}:6: old 2027.0, 25 seats: well signed, but expired on 2001-01-01",
        f"{path}:8: new 2027.0, 25 seats: well signed, but starts on 9999-12-01",
    ]


@pytest.mark.parametrize(("servers", "is_warned"), [
    ("SERVER a ID=1111\nSERVER b ID=2222\n", True),
    ("SERVER a ANY\nSERVER b ID=2222\n", True),
    ("SERVER a HOSTNAME=a\nSERVER b ID=2222\n", False),
    ("SERVER a ID=1111\n", False),
])  # fmt: skip
def test_sign_a_pair_anybody_can_declare(folder, servers, is_warned):
    """The vendor is told where configuration alone would make a redundant server the primary, without a limit."""
    (folder / "pair.lic").write_text(f"{servers}VENDOR acme\nINCREMENT cad acme 1.0 permanent 5\n")
    done = run(sign, folder / "pair.lic", "--key", folder / "acme.key")
    assert done.exit_code == 0
    assert ("pair.lic:1: the primary is bound by ID= or ANY, which any host may declare" in done.stderr) == is_warned


def test_sign_elsewhere(folder):
    """With --out the license itself stays as it was."""
    result = run(sign, folder / "acme.lic", "--key", folder / "acme.key", "--out", folder / "new.lic", "--json")
    assert result.exit_code == 0
    assert (folder / "acme.lic").read_text() == LICENSE
    said = json.loads(result.stdout)
    assert (said["file"], said["signed"]) == (str(folder / "new.lic"), 3)
    verified = run(verify_command, folder / "new.lic", "--key", folder / "acme.pub", "--json")
    assert json.loads(verified.stdout)["digest"] == said["digest"]


def test_sign_through_link(folder):
    """A link to a license stays a link."""
    link = folder / "link.lic"
    link.symlink_to("acme.lic")
    assert run(sign, link, "--key", folder / "acme.key").exit_code == 0
    assert link.is_symlink()
    assert "ed25519:" in (folder / "acme.lic").read_text()


def test_sign_refuses(folder):
    """A license with a problem is not touched, and every problem is told with file and line."""
    path = folder / "acme.lic"
    path.write_text(LICENSE + "FOO\nINCREMENT cad\n")
    before = path.read_bytes()
    result = run(sign, path, "--key", folder / "acme.key")
    assert result.exit_code == 1
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [f"{path}:7", f"{path}:8"]
    assert path.read_bytes() == before


def test_sign_for_a_later_release(folder):
    """A line that this release does not serve is signed, and that is said."""
    path = folder / "acme.lic"
    path.write_text(LICENSE + "INCREMENT mesh acme 1.0 permanent 5 BORROW=24\n")
    result = run(sign, path, "--key", folder / "acme.key")
    assert result.exit_code == 0
    assert result.stderr == f"{path}:10: mesh is signed, but BORROW is not served by this release\n"


def test_verify_refuses(folder):
    """Exit status 1 where a line is refused; it is named with its reason, the good ones are told as well."""
    path = folder / "acme.lic"
    run(sign, path, "--key", folder / "acme.key")
    text = path.read_text()
    path.write_text("FOO\n" + text.replace(" 25 SN=1", " 26 SN=1"))
    result = run(verify_command, path, "--key", folder / "acme.pub")
    assert result.exit_code == 1
    first, forged, old, new, summary = result.stdout.splitlines()
    assert first.startswith(f"{path}:1: 'FOO' begins no line")
    assert forged.startswith(f"{path}:5: cad is not served: its signature is not that of vendor acme's key")
    assert old.startswith(f"{path}:7: old")
    assert new.startswith(f"{path}:9: new")
    assert summary.startswith(f"{path}: 2 of 3 lines good, sha256:")


def test_verify_as_json(folder):
    """A program reads the same as JSON; a line that an earlier one outdoes is not served."""
    path = folder / "acme.lic"
    path.write_text("SERVER a ANY\nFEATURE cad acme 1.0 permanent 5\nFEATURE cad acme 1.0 permanent 6\n")
    run(sign, path, "--key", folder / "acme.key")
    result = run(verify_command, path, "--key", folder / "acme.pub", "--json")
    assert result.exit_code == 0
    outdone = "cad is well signed, but an earlier line counts instead"
    assert json.loads(result.stdout)["lines"] == [
        {"line": 2, "feature": "cad", "served": True, "sentence": "cad 1.0, 5 seats: served"},
        {"line": 4, "feature": "cad", "served": False, "sentence": outdone},
    ]


def test_nothing_to_verify(folder):
    """A file without a line to serve is refused."""
    (folder / "acme.lic").write_text("SERVER a ANY\n")
    result = run(verify_command, folder / "acme.lic", "--key", folder / "acme.pub")
    assert (result.exit_code, result.stdout.count("0 of 0 lines good")) == (1, 1)


@pytest.mark.parametrize(
    ("command", "file", "key", "reason"),
    [
        (sign, "none.lic", "acme.key", "none.lic: the license file cannot be read: No such file"),
        (sign, "acme.lic", "none.key", "none.key: the key cannot be read: No such file"),
        (sign, "acme.lic", "acme.pub", "others may read"),
        (verify_command, "none.lic", "acme.pub", "none.lic: the license file cannot be read: No such file"),
        (verify_command, "acme.lic", "acme.key", "this is a private key"),
    ],
)
def test_wrong_files(folder, command, file, key, reason):
    """A wrong or missing file is one sentence on stderr and exit status 2."""
    (folder / "acme.pub").chmod(0o644)
    result = run(command, folder / file, "--key", folder / key)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_sign_where_nothing_can_be_written(folder):
    """A folder that is none is a sentence, and leaves nothing behind."""
    result = run(sign, folder / "acme.lic", "--key", folder / "acme.key", "--out", folder / "none" / "new.lic")
    assert result.exit_code == 2
    assert "new.lic: the signed license cannot be written: No such file or directory" in result.stderr


def test_hostid():
    """The hostids are printed as a SERVER line has them, and as JSON as a server's status has them."""
    lines = run(hostid).stdout.splitlines()
    assert any(line.startswith("HOSTNAME=") for line in lines)
    listed = json.loads(run(hostid, "--json").stdout)["hostids"]
    assert [line.lower() for line in lines] == [text.lower() for text in listed]


ASKED = make_request("lic-b", [parse_hostid("HOSTNAME=lic-b")], f"sha256:{'ab' * 32}", 2, 1, b"8 random")


def test_issue_key(folder):
    """The vendor's answer to a request key is the activation key, alone on stdout; whom it is for is said beside it."""
    result = run(issue_key, request_key(ASKED).lower(), "--key", folder / "acme.key")
    assert result.exit_code == 0
    granted = check_activation_key(result.stdout, ASKED, load_public_key(folder / "acme.pub"))
    assert (granted.request, granted.hours) == (ASKED, 72)
    assert result.stderr == (
        "72 h for the server lic-b, extension 1 of takeover 2: the customer gives this key to `licserver activate`\n"
    )


def test_issue_key_as_json(folder):
    """A program reads the key and what it is for."""
    result = run(issue_key, request_key(ASKED), "--key", folder / "acme.key", "--hours", 8, "--json")
    said = json.loads(result.stdout)
    granted = check_activation_key(said.pop("key"), ASKED, load_public_key(folder / "acme.pub"))
    assert granted.hours == 8
    assert said == {"server": "lic-b", "takeover": 2, "extension": 1, "hours": 8}


@pytest.mark.parametrize(
    ("request_typed", "key", "hours", "status", "reason"),
    [
        ("24JPR", "acme.key", 72, 1, "one is mistyped"),
        (request_key(ASKED), "none.key", 72, 2, "none.key: the key cannot be read"),
        (request_key(ASKED), "acme.pub", 72, 2, "others may read"),
        (request_key(ASKED), "acme.key", 0, 2, "'--hours': 0 is not in the range"),
        (request_key(ASKED), "acme.key", 8761, 2, "'--hours': 8761 is not in the range"),
    ],
)
def test_no_key_issued(folder, request_typed, key, hours, status, reason):
    """A mistyped request is refused, a wrong file or number of hours wrong usage; no key is printed."""
    result = run(issue_key, request_typed, "--key", folder / key, "--hours", hours)
    assert (result.exit_code, result.stdout) == (status, "")
    assert reason in result.stderr


@pytest.mark.parametrize("command", [keygen, sign, verify_command, hostid, issue_key])
def test_help(command):
    """Every command's help has an example."""
    assert f"Example: licserver {command.name} " in run(command, "--help").output.replace("hostid\n", "hostid ")
