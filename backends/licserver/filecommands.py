"""
The commands of licserver that work on files alone: keygen, sign, verify, hostid, issue-key.

Exit status: 0 done, 1 refused, 2 wrong usage or a file that cannot be read.
"""

import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lsproxy.errors import LsproxyError
from lsproxy.license.activation import MOST_HOURS, KeyRefused, issue, read_request_key
from lsproxy.license.file import read_license, read_license_text
from lsproxy.license.grammar import parse
from lsproxy.license.keys import load_private_key, load_public_key
from lsproxy.license.machine import machine_hostids
from lsproxy.license.model import LicenseError, Problem
from lsproxy.license.offer import Pool, pools
from lsproxy.license.signature import VerifiedLicense, verify
from lsproxy.license.signature import sign as sign_text
from lsproxy.license.terms import why_not_limited, why_not_served


class Refused(click.ClickException):
    """Ends a command with a sentence on stderr and exit status 1."""

    def show(self, file: Any = None) -> None:
        """Prints the sentence as it is."""
        click.echo(self.format_message(), err=True, file=file)


class WrongUsage(Refused):
    """The same with exit status 2."""

    exit_code = 2


class LineReport(msgspec.Struct):
    """What `verify` says of one FEATURE or INCREMENT line: what it grants today, or why nothing."""

    line: int
    feature: str
    served: bool
    sentence: str


class VerifyReport(msgspec.Struct):
    """What `verify --json` prints. `problems` are those of all other lines; `digest` is over the well signed ones."""

    file: str
    digest: str
    lines: list[LineReport]
    problems: list[Problem]


@click.command(epilog="Example: licserver keygen --out acme")
@click.option("--out", "prefix", required=True, metavar="PREFIX", help="Writes PREFIX.key and PREFIX.pub.")
def keygen(prefix: str) -> None:
    """Make a vendor's key pair: PREFIX.key signs licenses and stays secret, PREFIX.pub goes to every server."""
    private = Ed25519PrivateKey.generate()
    private_path, public_path = Path(f"{prefix}.key"), Path(f"{prefix}.pub")
    for path in (private_path, public_path):
        if path.exists():
            raise Refused(f"{path} exists and is not overwritten; remove it or choose another --out")
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _create(private_path, pem, 0o600)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        _create(public_path, pem, 0o644)
    except WrongUsage:
        private_path.unlink()
        raise
    click.echo(f"{private_path} signs licenses: keep it secret. {public_path} checks them: give it to every server.")


@click.command(epilog="Example: licserver sign acme.lic --key acme.key")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The vendor's private key (.key).")
@click.option("--out", type=click.Path(path_type=Path), help="Where the signed file goes; default: FILE itself.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def sign(file: Path, key: Path, out: Path | None, *, as_json: bool) -> None:
    """Sign every FEATURE and INCREMENT line of a license file; everything else in it stays as it is."""
    target = out or file
    try:
        private, text = load_private_key(key), read_license_text(file)
    except LsproxyError as problem:
        raise WrongUsage(str(problem)) from problem
    try:
        signed = sign_text(text, str(file), private)
    except LicenseError as problem:
        raise Refused(str(problem)) from problem
    _replace(target, signed.encode())
    parsed = parse(signed, str(target))
    for line in parsed.features:
        if reason := why_not_served(line):
            click.echo(f"{target}:{line.line}: {line.feature} is signed, but {reason}", err=True)
    if reason := why_not_limited(parsed):
        click.echo(f"{target}:{parsed.servers[0].line}: {reason}", err=True)
    digest = verify(parsed, {line.vendor: private.public_key() for line in parsed.features}).digest
    if as_json:
        click.echo(msgspec.json.encode({"file": str(target), "signed": len(parsed.features), "digest": digest}))
    else:
        click.echo(f"{target}: {len(parsed.features)} lines signed, {digest}")


@click.command(name="verify", epilog="Example: licserver verify acme.lic --key acme.pub")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The vendor's public key (.pub).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify_command(file: Path, key: Path, *, as_json: bool) -> None:
    """Say of each line of a license file whether it is served, or why not; exit status 1 if anything is refused."""
    try:
        public, parsed = load_public_key(key), read_license(file)
    except LsproxyError as problem:
        raise WrongUsage(str(problem)) from problem
    verified = verify(parsed, {line.vendor: public for line in parsed.features})
    report = _report(verified, time.time())
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        said = [(line.line, line.sentence) for line in report.lines]
        said += [(problem.line, problem.sentence) for problem in report.problems]
        for number, sentence in sorted(said):
            click.echo(f"{file}:{number}: {sentence}")
        click.echo(f"{file}: {len(verified.good)} of {len(report.lines)} lines good, {report.digest}")
    if verified.problems or not verified.good:
        raise SystemExit(Refused.exit_code)


@click.command(epilog="Example: licserver hostid")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def hostid(*, as_json: bool) -> None:
    """Print the hostids of this machine, as they stand in a SERVER line. Any one of them can be licensed."""
    found = machine_hostids()
    if as_json:
        click.echo(msgspec.json.encode({"hostids": [str(one) for one in found]}))
        return
    for one in found:
        click.echo(one.describe())


@click.command(name="issue-key", epilog="Example: licserver issue-key '242PR-TB35N-…' --key acme.key")
@click.argument("request")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="The vendor's private key (.key).")
@click.option("--hours", default=72, type=click.IntRange(1, MOST_HOURS), show_default=True, help="How long to grant.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def issue_key(request: str, key: Path, hours: int, *, as_json: bool) -> None:
    """Answer a customer's request key with the activation key that gives a redundant server more hours."""
    try:
        private = load_private_key(key)
    except LsproxyError as problem:
        raise WrongUsage(str(problem)) from problem
    asked = read_request_key(request)
    if isinstance(asked, KeyRefused):
        raise Refused(asked.reason)
    issued = issue(asked, hours, private)
    if as_json:
        said = {"server": asked.name, "takeover": asked.takeover, "extension": asked.extension, "hours": hours}
        click.echo(msgspec.json.encode({"key": issued, **said}))
        return
    click.echo(issued)
    what = f"{hours} h for the server {asked.name}, extension {asked.extension} of takeover {asked.takeover}"
    click.echo(f"{what}: the customer gives this key to `licserver activate`", err=True)


def _report(verified: VerifiedLicense, now_wall: float) -> VerifyReport:
    by_line = {pool.line: pool for of_feature in pools(verified).values() for pool in of_feature}
    refused = {problem.line: problem.sentence for problem in verified.problems}
    lines = []
    for line in verified.license.features:
        pool = by_line.get(line.line)
        if pool is not None:
            served = pool.has_started(now_wall) and not pool.has_expired(now_wall)
            sentence = _say(pool, now_wall)
        else:
            served = False
            sentence = refused.get(line.line, f"{line.feature} is well signed, but an earlier line counts instead")
        lines.append(LineReport(line.line, line.feature, served, sentence))
    return VerifyReport(verified.license.file, verified.digest, lines, list(verified.license.problems))


def _say(pool: Pool, now_wall: float) -> str:
    what = f"{pool.feature} {pool.version_text}, {pool.issued} seats"
    if pool.has_expired(now_wall):
        return f"{what}: well signed, but expired on {pool.expires}"
    if not pool.has_started(now_wall):
        return f"{what}: well signed, but starts on {pool.starts}"
    return f"{what}: served" + (f" until {pool.expires}" if pool.expires else "")


def _create(path: Path, content: bytes, mode: int) -> None:
    """A new file, durable, never an overwritten one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise WrongUsage(f"{path}: the key cannot be written: {problem.strerror}") from problem


def _replace(path: Path, content: bytes) -> None:
    """The whole new file or the whole old one, whatever happens; its permissions stay."""
    target = path.resolve()
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as problem:
        raise WrongUsage(f"{path}: the signed license cannot be written: {problem.strerror}") from problem
