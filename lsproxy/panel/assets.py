"""What are the templates, and the files that the browser may keep because their name changes with their content?"""

import hashlib
from importlib.resources import files
from typing import Any, Final

import jinja2

from lsproxy.admin.exchange import NOT_FOUND, RefusedError, Reply

_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOREVER: Final = "public, max-age=31536000, immutable"


class Assets:
    """The files of `static/` and the templates, read once."""

    def __init__(self) -> None:
        folder = files("lsproxy.panel")
        self._contents: dict[str, bytes] = {}
        self._names: dict[str, str] = {}
        for file in (folder / "static").iterdir():
            content = file.read_bytes()
            stem, _, ending = file.name.rpartition(".")
            named = f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
            self._contents[named] = content
            self._names[file.name] = named
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("lsproxy.panel"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        self._environment.globals["files"] = self._names

    def page(self, template: str, **shown: Any) -> bytes:
        """The template filled in."""
        return self._environment.get_template(template).render(**shown).encode()

    def file(self, name: str) -> Reply:
        """A file by its name with the digest. Raises RefusedError for one that is not there, or not any more."""
        content = self._contents.get(name)
        if content is None:
            raise RefusedError(NOT_FOUND, "not_found", "there is no such file, load the page again")
        ending = name.rpartition(".")[2]
        return Reply(content_type=_TYPES[ending], body=content, headers={"Cache-Control": _FOREVER})
