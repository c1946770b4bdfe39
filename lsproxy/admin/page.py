"""What does a person see in a browser: the panel, which reads and changes nothing, and the login page. No scripts."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from lsproxy.admin.exchange import HTML, Reply
from lsproxy.proxy.snapshot import BackendSnapshot, PoolSnapshot

REFRESH_SECONDS: Final = 3

_STYLE: Final = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1a1f27; --faint: #5d6775;
  --line: #dde2e8; --good: #1a7f45; --odd: #9a6400; --bad: #b4231f; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --card: #1c2128; --ink: #e4e8ee; --faint: #98a2b0;
  --line: #313842; --good: #58c98a; --odd: #e0ad4a; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; }
h1 { font-size: 1.2rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0; }
.faint { color: var(--faint); } .good { color: var(--good); } .odd { color: var(--odd); } .bad { color: var(--bad); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem;
  margin-top: 1rem; }
section > p { margin: .35rem 0; } .wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; margin-top: .6rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--faint); font-size: .85rem; }
th, td { padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--line); vertical-align: top; }
thead th { border-top: 0; } td p { margin: 0; font-size: .85rem; }
code { font: .9em ui-monospace, monospace; }
form { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: .8rem; }
input, button { font: inherit; padding: .45rem .7rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--ground); color: inherit; } input { flex: 1 1 16rem; } button { cursor: pointer; }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def panel(pools: Sequence[PoolSnapshot], now: str, release: str) -> Reply:
    """The pools as they are at `now`."""
    well = sum(pool.is_well for pool in pools)
    summary = f"{well} of {len(pools)} pools served without conflict"
    mood = "good" if well == len(pools) else "bad"
    head = (
        f'<header><h1>lsproxy</h1><span class="{mood}">{escape(summary)}</span>'
        f'<span class="faint">{escape(now)} · release {escape(release)}</span></header>'
    )
    return _page("lsproxy", head + "".join(map(_pool, pools)), refresh=f"{REFRESH_SECONDS}")


def login_form(problem: str | None = None, status: int = 200) -> Reply:
    """Where a token is typed."""
    said = f'<p class="bad">{escape(problem)}</p>' if problem else ""
    body = (
        "<header><h1>lsproxy</h1></header><section><h2>Who is looking?</h2>"
        f'{said}<p class="faint">Type a token, made with <code>lsproxy token add NAME --role viewer</code>.</p>'
        '<form method="post" action="/login"><input type="password" name="token" aria-label="Token" required autofocus'
        ' autocomplete="current-password"><button>Look</button></form></section>'
    )
    return _page("lsproxy: login", body, status=status)


def _pool(pool: PoolSnapshot) -> str:
    rows = "".join(_backend(backend, pool) for backend in pool.backends)
    of_status = ("role", "epoch", "sessions", "seats") if pool.kind == "licserver" else ()
    names = ("backend", "address", "health", *of_status, "clients here")
    columns = "".join(f"<th scope=col>{name}</th>" for name in names)
    clients = "1 client" if pool.clients == 1 else f"{pool.clients} clients"
    clients += f", {pool.waiting} waiting; failback {escape(pool.failback)}"
    epoch = f" · epoch {pool.epoch}" if pool.journal else ""
    name = pool.kind if pool.server_name is None else f"{pool.server_name} · {pool.kind}"
    return (
        f"<section><header><h2>{escape(pool.pool)}</h2>{_served(pool)}</header>"
        f'<p class="faint">{escape(name)}{epoch} · {clients}</p>'
        f"{''.join(_warning(text) for text in _warnings(pool))}"
        f'<div class="wide"><table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _served(pool: PoolSnapshot) -> str:
    since = f"for {_duration(pool.serving_for)}"
    if pool.serving is None:
        return f'<span class="bad">nobody serves, {since}</span>'
    return f'<span class="good">served by {escape(pool.serving)} {since}</span>'


def _warnings(pool: PoolSnapshot) -> Iterable[str]:
    yield from pool.conflicts
    if pool.serving is None and pool.reason and pool.reason not in pool.conflicts:
        yield pool.reason
    if pool.note:
        yield pool.note
    if pool.switching_to:
        yield f"{pool.switching_to} is to take over"


def _warning(text: str) -> str:
    return f'<p class="odd">{escape(text)}</p>'


def _backend(backend: BackendSnapshot, pool: PoolSnapshot) -> str:
    name = escape(backend.name)
    shown = f"<strong>{name}</strong>" if backend.name == pool.serving else name
    health = {"up": "good", "down": "bad"}.get(backend.health, "odd")
    lasting = _duration(backend.changed_for)
    said = backend.said
    of_status = ["-"] * 4 if said is None else [escape(said.role), str(said.epoch), str(said.sessions), str(said.seats)]
    if pool.kind != "licserver":
        of_status = []
    cells = [
        shown + "".join(f'<p class="odd">{escape(text)}</p>' for text in _remarks(backend)),
        f"<code>{escape(backend.address)}</code>",
        f'<span class="{health}">{escape(backend.health)}</span> <span class="faint">{lasting}</span>',
        *of_status,
        str(backend.connections),
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _remarks(backend: BackendSnapshot) -> Iterable[str]:
    if backend.admin != "ready":
        yield backend.admin
    if backend.is_kept_out:
        yield "was lost and is kept out until `lsproxy ready`"
    if backend.binding == "unbound" or (backend.binding == "unknown" and backend.health == "up"):
        yield f"{backend.binding}: {backend.binding_reason}"
    if backend.fencing not in {None, "fenced"}:
        yield f"fencing: {backend.fencing}"
    if backend.activation not in {None, "activated"}:
        yield f"activation: {backend.activation}"
    if backend.takeover_note:
        yield backend.takeover_note
    if backend.license_note:
        yield backend.license_note
    if backend.last_error:
        yield backend.last_error


def _duration(seconds: float) -> str:
    whole = int(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def _page(title: str, body: str, *, refresh: str | None = None, status: int = 200) -> Reply:
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
    return Reply(status=status, content_type=HTML, body=text.encode(), headers={"Content-Security-Policy": POLICY})
