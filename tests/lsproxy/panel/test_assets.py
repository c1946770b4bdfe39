"""Templates and files."""

import jinja2
import pytest

from lsproxy.admin.exchange import RefusedError
from lsproxy.panel.assets import Assets


def test_a_name_that_is_missing_is_a_fault():
    """It is not shown as nothing."""
    with pytest.raises(jinja2.UndefinedError):
        Assets().page("problem.html", layout="fragment.html")


def test_only_files_of_the_panel_are_given():
    """By the name with the digest alone."""
    assets = Assets()
    for name in ("panel.css", "../site.py", ""):
        with pytest.raises(RefusedError):
            assets.file(name)


def test_nothing_in_them_leads_to_another_host():
    """Neither styles nor scripts nor images name one, but for the name space of SVG."""
    assets = Assets()
    for name, content in assets._contents.items():
        rest = content.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"//" not in rest, name
        assert b"@import" not in rest, name
