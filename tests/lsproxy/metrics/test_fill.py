"""What the numbers of one pool look like."""

from types import SimpleNamespace

import msgspec
import pytest

from lsproxy.metrics.catalog import CATALOG
from lsproxy.metrics.fill import _put_servers
from lsproxy.metrics.page import Page
from tests.lsproxy.admin.pictures import backend, pool

SITE = SimpleNamespace(plan=SimpleNamespace(config=SimpleNamespace(vendor_keys=["demo"])))


@pytest.mark.parametrize(
    ("role", "serving", "status"),
    [("active", "lic-a", 1), ("blocked", "lic-a", 0), ("isolated", "lic-a", 0), ("active", None, 0)],
)
def test_a_vendor_is_down_where_lmstat_says_so(role, serving, status):
    """Also where the one that serves grants nothing."""
    usual = backend("lic-a")
    said = msgspec.structs.replace(usual.said, role=role)
    page = Page(CATALOG)
    _put_servers(page, SITE, pool(serving=serving, backends=[backend("lic-a", said=said)]))
    lines = [line for line in page.text().decode().splitlines() if line.startswith("flexlm_vendor_status")]
    assert [float(line.rpartition(" ")[2]) for line in lines] == [status]
