"""What a person sees and does in a browser."""

import contextlib
from pathlib import Path

import pytest

from tests.faults.process import wait_for
from tests.web.conftest import in_the_browser

pytestmark = pytest.mark.chromium

PAGES = (
    "/",
    "/pools/acme",
    "/events",
    "/logout",
    "/pools/acme/switch?to=lic-b",
    "/pools/acme/license",
    "/pools/acme/activate",
    "/pools/acme/request-key",
    "/nothing",
)
ACCESSIBLE = Path(__file__).with_name("accessible.js").read_text(encoding="utf-8")


def serving(page):
    return page.locator(".card .served strong").first.inner_text()


@pytest.fixture
def held(running):
    """A client that has a seat and waits for nothing."""
    with contextlib.closing(running.application("alice")) as client:
        yield client.checkout("cad", count=4)


@pytest.mark.usefixtures("held")
@in_the_browser
def test_one_glance_shows_who_serves_and_how_full_it_is(site):
    """By name and address, in words and as bars, after a login by token."""
    page = site.window("viewer")
    active = site.system.active()
    card = page.locator("article.card")
    assert "Served" in card.inner_text()
    assert serving(page) == active
    assert f"127.0.0.1:{site.system.addresses[active][1]}" in card.inner_text()
    page.get_by_text("4 of 10 in use").wait_for()
    assert page.evaluate("document.cookie") == ""


@in_the_browser
def test_the_new_server_is_shown_without_a_reload(site):
    """The active one is killed; the page that is open follows, and keeps what is focused."""
    page = site.window("viewer")
    page.evaluate("window.isSame = true")
    page.locator("#open-acme").focus()
    former = serving(page)
    site.system.servers[former].kill()
    try:
        page.wait_for_function("name => document.querySelector('.card .served strong').innerText !== name", arg=former)
        page.get_by_text(f"no standby: {former}").wait_for()
        page.locator(".events").get_by_text("took over from").first.wait_for()
        assert page.evaluate("window.isSame")
        assert page.evaluate("document.activeElement.id") == "open-acme"
        assert "Degraded" in page.locator("article.card").inner_text()
    finally:
        site.system.start_server(former)
    page.get_by_text("Every pool is served, and nothing is degraded").wait_for()


@in_the_browser
def test_a_seat_is_taken_back(site, held):
    """It is asked first, by the name of who has it; the application is told, and the row goes."""
    page = site.window("operator", "/pools/acme")
    page.get_by_role("link", name=f"Take back seat {held.number} of alice").click()
    assert "alice on" in page.locator("main").inner_text()
    page.get_by_role("button", name="Take back").click()
    page.get_by_text(f"Seat {held.number} was taken back.").wait_for()
    page.get_by_text("Nobody holds a seat").wait_for()
    assert "operator" in wait_for(lambda: held.lost, "the application is told")


@in_the_browser
def test_a_switch_is_asked_for_and_made(site):
    """The page of the pool says who serves then."""
    page = site.window("operator", "/pools/acme")
    active = site.system.active()
    other = next(name for name in site.system.names if name != active)
    page.get_by_role("link", name=f"Switch to {other}").click()
    page.get_by_role("heading", name=f"Switch acme to {other}?").wait_for()
    page.get_by_role("button", name=f"Switch to {other}").click()
    page.get_by_text(f"acme is served by {other}.").wait_for()
    assert page.url == f"{site.url}/pools/acme"
    assert site.system.active() == other


@in_the_browser
def test_a_license_is_installed_from_a_file_and_from_its_text(site):
    """What is wrong with one is said beside the form."""
    page = site.window("operator", "/pools/acme/license")
    text = site.system.license_text({"cad": 12, "mesh": 3})
    page.get_by_label("or its text").fill(text.replace(" 12 ", " 13 "))
    page.get_by_role("button", name="Install").click()
    assert "signature" in page.get_by_role("alert").inner_text()
    page.get_by_label("License file").set_input_files(
        {"name": "new.lic", "mimeType": "text/plain", "buffer": text.encode()}
    )
    page.get_by_role("button", name="Install").click()
    page.get_by_text("is in force on").wait_for()
    page.get_by_text("of 12 in use").wait_for()
    page.goto(f"{site.url}/pools/acme/license")
    page.get_by_label("or its text").fill(site.system.license_text(site.system.features))
    page.get_by_role("button", name="Install").click()
    page.get_by_text("of 10 in use").wait_for()


@in_the_browser
def test_a_denial_is_shown(site):
    """Who was denied what, with the server's sentence."""
    with contextlib.closing(site.system.application("bob")) as client, contextlib.suppress(Exception):
        client.checkout("cad", count=99)
    page = site.window("viewer", "/pools/acme")
    row = page.locator("#part-denials tbody tr").first.inner_text()
    assert "bob" in row
    assert "cad" in row
    assert "99 asked" in row


@in_the_browser
def test_a_viewer_sees_no_actions(site):
    """And is told so at the address of one."""
    page = site.window("viewer", "/pools/acme")
    for name in ("Drain", "Maint", "Switch", "Take back", "Install", "Activate"):
        assert page.get_by_role("link", name=name).count() == 0
    page.goto(f"{site.url}/pools/acme/switch?to=lic-b")
    page.get_by_role("heading", name="Not permitted").wait_for()


@in_the_browser
def test_a_page_is_read_without_scripts(site):
    """Everything is there, and it comes anew by itself."""
    page = site.window("operator", "/pools/acme", java_script_enabled=False)
    text = page.locator("main").inner_text()
    for word in ("lic-a", "lic-b", "Backends", "Seats in use", "License", "To copy"):
        assert word in text
    assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
    page.get_by_role("link", name="Drain lic").first.click()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("link", name="Events").first.click()
    page.get_by_label("Text").fill("took over")
    page.get_by_role("button", name="Filter").click()
    assert "text=took+over" in page.url


@in_the_browser
def test_events_are_filtered_and_come_live(site):
    """What is typed in a filter stays while news arrive."""
    page = site.window("operator", "/events?kind=backend_state")
    page.get_by_label("Text").fill("half a wo")
    other = site.window("operator", "/pools/acme/state?backend=lic-a&state=drain")
    other.get_by_role("button", name="Drain").click()
    page.get_by_text("lic-a is set to drain").first.wait_for()
    assert page.get_by_label("Text").input_value() == "half a wo"
    assert page.locator("tbody tr").count() == page.locator("tbody tr", has_text="backend_state").count()
    other.goto(f"{site.url}/pools/acme/state?backend=lic-a&state=ready")
    other.get_by_role("button", name="Set ready").click()
    other.get_by_text("lic-a is set to ready.").wait_for()


@in_the_browser
def test_a_connection_that_is_lost_is_said(site):
    """With the time of the figures; and so is its return."""
    page = site.window("viewer")
    page.get_by_text("Live · figures of").wait_for()
    page.context.set_offline(True)
    page.get_by_text("Connection lost, figures of").wait_for()
    page.context.set_offline(False)
    page.get_by_text("Live · figures of").wait_for()
    site.complaints[:] = [one for one in site.complaints if "ERR_INTERNET_DISCONNECTED" not in one]


@pytest.mark.parametrize("width", [360, 1280, 1920])
@in_the_browser
def test_no_page_is_wider_than_its_window(site, width):
    """On a phone, on a desk, on a wall."""
    page = site.window("operator", viewport={"width": width, "height": 800})
    for path in PAGES:
        page.goto(site.url + path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


@in_the_browser
def test_a_chart_opened_by_itself_has_its_style(site):
    """Its policy lets in that one style sheet, and nothing is complained of."""
    page = site.window("viewer", "/pools/acme/chart.svg?span=day&feature=cad")
    assert "system-ui" in page.evaluate("getComputedStyle(document.querySelector('text')).fontFamily")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("held")
@in_the_browser
def test_every_page_is_accessible(site, scheme):
    """Names, labels, headings, captions, contrast; the keyboard comes to the content first."""
    page = site.window("operator", color_scheme=scheme)
    for path in (*PAGES, "/login"):
        page.goto(site.url + path)
        assert page.evaluate(ACCESSIBLE) == [], path
    page.goto(site.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.nginx
@in_the_browser
def test_it_works_below_a_path_of_another_server(site, prefixed):
    """Links, forms, live figures and the login stay below it."""
    page = site.window("operator", url=prefixed)
    page.get_by_text("Live · figures of").wait_for()
    page.get_by_role("link", name="acme").first.click()
    page.wait_for_url(f"{prefixed}/pools/acme")
    page.get_by_role("link", name="Drain lic-a").click()
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url(f"{prefixed}/pools/acme")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{prefixed}/login")
    assert page.context.cookies() == []
