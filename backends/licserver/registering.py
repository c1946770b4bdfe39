"""
How does a server become the redundant server of a primary, and how does it stop being one?

The primary is asked for all that its redundant server needs, and keeps the registration in the journal; the rest is a
configuration file, in which what was written by hand stays, and the license file beside the journal. Nothing is
registered that was not written, and nothing written that was not registered.
"""

import json
import os
import pwd
import re
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from licserver.config import LicserverConfig, ListenTls, load_config
from licserver.errors import LicserverError
from licserver.licenses import LicenseRefused
from licserver.ownlicenses import load_licenses, own_hostids
from licserver.remote import Unreachable, ask
from lsproxy.config.relations import is_loopback, is_wildcard
from lsproxy.license.machine import machine_hostids
from lsproxy.net.address import Address
from lsproxy.seat.messages import Registration
from lsproxy.secretfile import read_secret

DEFAULT_LISTEN: Final = Address("127.0.0.1", 27102)
MOST_CLOCK_SECONDS: Final = 60.0

_MOST_HOSTIDS: Final = 64
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOP_LEVEL: Final = re.compile(r"([A-Za-z_]+)[ \t]*:")
_ACTIVE: Final = frozenset({"active", "blocked", "isolated"})


class NotRegistered(LicserverError):
    """It cannot be done as things are; the sentence says why."""


class Primary(msgspec.Struct, frozen=True):
    """The server at `address`, asked over TLS where there is a `tls`, with the operator's `token`."""

    address: Address
    token: str
    tls: ListenTls | None

    def ask(self, **request: Any) -> dict[str, Any]:
        """As `remote.ask`."""
        return ask(self.address, request, self.token, self.tls)


def register(
    address: Address, token_file: Path, listen: Address | None, file: Path, wall: Callable[[], float]
) -> LicserverConfig:
    """
    Make the server that `file` configures, or is to configure, the redundant server of the primary at `address`.

    The configuration as it is written then. Raises LicserverError or LsproxyError; then nothing has changed.
    """
    before = load_config(file) if file.exists() else None
    name = file.stem if before is None else before.name
    tls = None if before is None else before.listen.tls
    if tls is None and not is_loopback(address):
        raise NotRegistered(
            f"{address} is on another host, where the operator token needs TLS: write {file} first, with "
            "`listen: {address: …, tls: {certificate: FILE, key: FILE}}` and a certificate for both servers"
        )
    primary = Primary(address, read_secret(token_file), tls)
    here = listen or (DEFAULT_LISTEN if before is None else before.listen.address)
    _refuse_active(here, name, tls)
    _check_status(primary.ask(op="status"), primary, before, wall)
    reached_at = before.advertise if before is not None and listen is None else here
    said = primary.ask(op="register", name=name, address=str(reached_at), hostids=_hostids(before))
    try:
        told = _told(said, address)
        if before is None:
            _refuse_unreadable(token_file, told)
        return _write(file, _settings(file, before, told, address, listen, token_file), told, before)
    except BaseException as problem:
        stood = said.get("before")
        undo = {"op": "unregister"} if stood is None else {"op": "register", **stood}
        try:
            primary.ask(name=name, **undo)
        except LicserverError as unheard:
            raise NotRegistered(
                f"{problem}; the primary has {name} registered, and was not told: {unheard}"
            ) from problem
        raise


def unregister(file: Path) -> str:
    """Take a registration back, at the redundant server or at its primary; what was done, a sentence."""
    config = load_config(file)
    if config.token_file is None:
        raise NotRegistered(f"{file}: without a token_file the primary cannot be told")
    token = read_secret(config.token_file)
    tls = config.listen.tls
    if config.registered is None:
        Primary(config.listen.address, token, tls).ask(op="unregister")
        return f"{config.name} has no registered redundant server any more"
    Primary(config.registered.primary, token, tls).ask(op="unregister", name=config.name)
    _replace(file, with_settings(file.read_text(), {"registered": None}))
    return f"{config.name} is not the redundant server of {config.registered.name} any more; stop it if it runs"


def with_settings(text: str, settings: Mapping[str, str | None]) -> str:
    """The YAML `text` with these keys at its top level and no others of their names; None: without it."""
    kept: list[str] = []
    is_replaced = False
    for line in text.splitlines():
        top = _TOP_LEVEL.match(line)
        if top or line.startswith("#"):
            is_replaced = top is not None and top[1] in settings
        if not is_replaced:
            kept.append(line)
    kept += [f"{key}: {value}" for key, value in settings.items() if value is not None]
    return "\n".join([*kept, ""])


def _refuse_active(here: Address, name: str, tls: ListenTls | None) -> None:
    asked = Address("127.0.0.1", here.port) if is_wildcard(here) else here
    try:
        status = ask(asked, {"op": "status"}, None, tls)
    except Unreachable:
        return
    if status["backend"] != name:
        raise NotRegistered(f"{status['backend']} serves at {here} already: choose another address with --listen")
    if status["role"] in _ACTIVE:
        raise NotRegistered(f"{name} is an active license server at {here}: stop it first")


def _check_status(
    status: dict[str, Any], primary: Primary, before: LicserverConfig | None, wall: Callable[[], float]
) -> None:
    who = f"{status['backend']} at {primary.address}"
    difference = abs(datetime.fromisoformat(status["now"]).timestamp() - wall())
    if difference > MOST_CLOCK_SECONDS:
        raise NotRegistered(
            f"the clocks of {who} and of this host are {difference:.0f} s apart: set them right, to within a minute"
        )
    if before is None:
        return
    licenses = load_licenses(before)
    own = licenses.digest(licenses.read())
    if own != status["license"]:
        raise NotRegistered(
            f"{before.license_file} is another license ({own[:19]}) than the one that {who} serves "
            f"({status['license'][:19]}): put a copy of that one there"
        )


def _hostids(before: LicserverConfig | None) -> list[str]:
    """What stays with the host: network addresses do not, and a bridge has the same one on every host."""
    found = machine_hostids() if before is None else own_hostids(before)
    return [str(hostid) for hostid in found if hostid.kind != "internet"][:_MOST_HOSTIDS]


def _settings(
    file: Path,
    before: LicserverConfig | None,
    told: Registration,
    address: Address,
    listen: Address | None,
    token_file: Path,
) -> dict[str, str | None]:
    registered = {"primary": str(address), "name": told.backend, "hostids": told.hostids}
    settings: dict[str, Any] = {key: getattr(told, key) for key in ("journal", "ttl", "heartbeat", "resume")}
    settings |= {"server_name": told.server, "registered": registered}
    if before is None or before.redundancy.scheme != "pair":
        settings["redundancy"] = "pair"
    if before is None:
        settings |= {
            "name": file.stem,
            "license_file": str(_license_file(file, told)),
            "token_file": str(token_file.resolve()),
        }
        settings["vendor_keys"] = {vendor: f"{vendor}.pub" for vendor in told.vendor_keys}
        if (folder := _journal_folder(told)) is not None:
            settings["state"] = str(folder / f"{file.stem}.state")
    if before is None or listen is not None:
        settings["listen"] = str(listen or DEFAULT_LISTEN)
    return {key: json.dumps(value) for key, value in settings.items()}


def _journal_folder(told: Registration) -> Path | None:
    """Where the servers of a journal in a file write; None for a journal elsewhere."""
    if not told.journal.startswith("sqlite:"):
        return None
    return Path(told.journal.removeprefix("sqlite://")).parent


def _license_file(file: Path, told: Registration) -> Path:
    """Where a new server's license is put: `install` replaces it, which a service may do beside its journal only."""
    return (_journal_folder(told) or file.resolve().parent) / f"{told.server}.lic"


def _refuse_unreadable(token_file: Path, told: Registration) -> None:
    """Root reads every token: the server, which runs as the owner of the journal's folder, is to read it too."""
    folder = _journal_folder(told)
    if os.geteuid() != 0 or folder is None:
        return
    owner, service = token_file.stat().st_uid, folder.stat().st_uid
    if owner != service:
        raise NotRegistered(
            f"{token_file} belongs to {_user(owner)}, and the server runs as {_user(service)}, the owner of {folder}:"
            f" name a copy of the token that is {_user(service)}'s, mode 0600"
        )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _write(
    file: Path, settings: dict[str, str | None], told: Registration, before: LicserverConfig | None
) -> LicserverConfig:
    placed: list[Path] = []
    draft = file.with_name(f".{file.name}.draft")
    try:
        if before is None:
            file.parent.mkdir(parents=True, exist_ok=True)
            needed = {_license_file(file, told): told.license}
            needed |= {file.parent / f"{vendor}.pub": key for vendor, key in told.vendor_keys.items()}
            for path, content in needed.items():
                _place(path, content, placed)
            text = f"# Redundant server of {told.backend}, written by `licserver register`.\n"
        else:
            text = file.read_text()
        written = with_settings(text, settings)
        draft.write_text(written)
        config = _load_servable(draft)
        if before is not None:
            _replace(file.with_name(f"{file.name}.old"), text)
        _replace(file, written)
    except BaseException as problem:
        for path in placed:
            path.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise NotRegistered(f"{file} cannot be written: {problem.strerror}") from problem
        raise
    finally:
        draft.unlink(missing_ok=True)
    return config


def _load_servable(draft: Path) -> LicserverConfig:
    """A configuration, of which the license may be served. Raises LsproxyError or LicserverError."""
    config = load_config(draft)
    licenses = load_licenses(config)
    if reason := licenses.why_not(licenses.read(), str(config.license_file)):
        raise LicenseRefused(reason)
    return config


def _told(said: dict[str, Any], address: Address) -> Registration:
    """The primary's answer, by which files are named and written: nothing in it is taken on trust."""
    try:
        told = msgspec.convert(said, Registration)
    except msgspec.ValidationError as problem:
        raise NotRegistered(f"what {address} answered is no registration: {problem}") from problem
    for name in (told.server, *told.vendor_keys):
        if not _FILE_NAME.fullmatch(name):
            raise NotRegistered(f"what {address} answered is no registration: {name[:64]!r} is no name")
    return told


def _place(path: Path, text: str, placed: list[Path]) -> None:
    """A file that is needed beside the configuration; one that is there with other contents is not overwritten."""
    if not path.exists():
        _replace(path, text)
        placed.append(path)
    elif path.read_text() != text:
        raise NotRegistered(f"{path} is there with other contents than the primary's: move it away, or correct it")


def _replace(path: Path, text: str) -> None:
    """Made by root, it is the former file's owner's, or else the folder's."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
            draft.write(text)
        Path(draft.name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        if os.geteuid() == 0:
            former = (path if path.exists() else path.parent).stat()
            os.chown(draft.name, former.st_uid, former.st_gid)
        Path(draft.name).replace(path)
    except OSError as problem:
        raise NotRegistered(f"{path} cannot be written: {problem.strerror}") from problem
