"""What the panel answers. The license servers are down, so what needs one is refused."""

import re
from html.parser import HTMLParser

import pytest
import pytest_twisted
from twisted.internet.defer import fail, succeed
from twisted.logger import globalLogPublisher

from lsproxy.panel.rendering import POLICY
from lsproxy.proxy.denials import Denials
from lsproxy.proxy.memory import InMemory, StateFileError
from lsproxy.proxy.operator import Installed, OperationRefusedError

PAGES = ("/", "/pools/demo", "/events", "/logout", "/pools/demo/license", "/pools/demo/state?backend=lic-a&state=maint")
VOID = frozenset({"meta", "input", "link", "img"})


class Elements(HTMLParser):
    """Every element and its text; all that are opened are closed."""

    def __init__(self, body):
        super().__init__()
        self.open, self.names, self.attributes, self.words = [], [], [], []
        self.feed(body.decode())
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def audited():
    lines = []

    def observe(event):
        if event.get("event") == "audit":
            lines.append(event["log_text"])

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest_twisted.ensureDeferred
async def test_pages_are_strict(browser):
    """Each has the policy, is kept nowhere, is whole, and has neither styles nor scripts within, nor other hosts."""
    await browser.log_in("operator")
    for path in PAGES:
        answer = await browser.look(path)
        assert answer.status == 200, path
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        elements = Elements(answer.body)
        assert "style" not in elements.names
        assert elements.names.count("h1") == 1, path
        for name, value in elements.attributes:
            assert name != "style"
            assert not name.startswith("on")
            assert name not in {"src", "href", "action", "data-live"} or not re.match(r"[a-z]+:|//|/", value or ""), (
                f"{path} leads to {value}, which is not relative"
            )


@pytest_twisted.ensureDeferred
async def test_files_are_kept_for_ever_by_their_digest(browser):
    """They need no login; a file whose digest is not that of now is not there."""
    page = (await browser.look("/login")).body.decode()
    name = re.search(r"static/(panel-[0-9a-f]{12}\.css)", page).group(1)
    answer = await browser.ask("GET", f"/static/{name}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    assert (await browser.ask("GET", "/static/panel-000000000000.css")).status == 404
    assert (await browser.ask("GET", "/static/..%2Fsite.py")).status == 404


@pytest_twisted.ensureDeferred
async def test_what_comes_from_outside_is_only_text(browser):
    """In events, filters, denials and paths."""
    evil = '<script>alert("x")</script>'
    await browser.log_in("operator")
    browser.events.tell("unserved", "demo", evil, {})
    denials = Denials()
    denials.note(0.0, b'{"user":"%s"}' % evil.replace('"', "'").encode(), b"{}", b'{"message":"<b>m</b>"}')
    browser.pools["demo"].traffic.denials = denials
    quoted = evil.replace("/", "%2F").replace('"', "%22")
    for path in ("/", "/pools/demo", f"/events?text={quoted}&pool={quoted}", f"/pools/{quoted}"):
        elements = Elements((await browser.look(path)).body)
        assert elements.names.count("script") <= 1, path  # ours
        assert "b" not in elements.names or path == "/"
    assert evil in Elements((await browser.look("/events")).body).text


@pytest_twisted.ensureDeferred
async def test_a_part_is_sent_to_a_page_that_is_open(browser):
    """Only what stands between head and foot; without a login 401, so that the page loads itself anew."""
    assert (await browser.look("/", X_Fragment="1")).status == 401
    await browser.log_in("viewer")
    answer = await browser.look("/", X_Fragment="1")
    assert answer.status == 200
    assert b"<!doctype" not in answer.body
    assert b"data-part" in answer.body
    assert re.fullmatch(r"\d\d:\d\d:\d\d UTC", answer.headers["x-stamp"])


@pytest_twisted.ensureDeferred
async def test_viewers_are_shown_no_actions_and_can_do_none(browser, audited):
    """Neither the questions nor the forms are theirs; what they tried is audited."""
    await browser.log_in("viewer")
    page = Elements((await browser.look("/pools/demo")).body)
    assert "Drain" not in page.text
    assert "Install" not in page.text
    assert (await browser.look("/pools/demo/switch?to=lic-b")).status == 403
    answer = await browser.send("/pools/demo/state", backend="lic-a", state="maint")
    assert answer.status == 403
    assert browser.pools["demo"].snapshot().backends[0].admin == "ready"
    assert any("viewer from 127.0.0.1 was refused state" in line for line in audited)


@pytest_twisted.ensureDeferred
async def test_an_operator_changes_by_a_form(browser, audited):
    """The change is made in their name and audited once; then the pool is shown, with what was done, once."""
    await browser.log_in("operator")
    answer = await browser.send("/pools/demo/state", backend="lic-a", state="maint")
    assert (answer.status, answer.headers["location"]) == (303, "../../pools/demo")
    assert browser.pools["demo"].snapshot().backends[0].admin == "maint"
    assert [line for line in audited if "state" in line] == [
        "audit: operator (operator) from 127.0.0.1: state demo lic-a state=maint: done"
    ]
    done = b"lic-a is set to maint."
    assert done not in (await browser.look("/pools/demo", X_Fragment="1")).body
    assert done in (await browser.look("/pools/demo")).body
    assert done not in (await browser.look("/pools/demo")).body


@pytest_twisted.ensureDeferred
async def test_a_form_without_the_token_of_the_login_changes_nothing(browser):
    """Not even with the cookie; nor one that comes from another site, nor one on a bearer token."""
    await browser.log_in("operator")
    right = browser.form
    wanted = {"backend": "lic-a", "state": "maint"}
    for form in ("", "guess", "%C3%A9", right[:-1]):
        assert (await browser.send("/pools/demo/state", form=form, **wanted)).status == 403
    body = f"form={right}&backend=lic-a&state=maint"
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://attacker.example"}):
        answer = await browser.ask("POST", "/pools/demo/state", body, Cookie=browser.cookie, **headers)
        assert answer.status == 403
    assert (await browser.ask("POST", "/pools/demo/state", body, role="operator")).status == 403
    assert (await browser.ask("POST", "/pools/demo/state", body)).status == 401
    assert browser.pools["demo"].snapshot().backends[0].admin == "ready"


@pytest_twisted.ensureDeferred
async def test_what_is_refused_is_said_beside_the_question(browser):
    """With the sentence of the API, its status, and the form to try again."""
    await browser.log_in("operator")
    for action, fields in (
        ("switch", {"to": "lic-b"}),
        ("remove", {"seat": "7"}),
        ("activate", {"key": "ABC"}),
        ("license", {"text": "no license"}),
    ):
        answer = await browser.send(f"/pools/demo/{action}", **fields)
        assert answer.status == 409, action
        elements = Elements(answer.body)
        assert ("role", "alert") in elements.attributes
        assert "demo" in elements.text
    assert (await browser.look("/pools/demo/request-key")).status == 409
    assert (await browser.send("/pools/demo/license")).status == 400
    assert (await browser.send("/pools/demo/remove", seat="x")).status == 400


class Foreseeing:
    """An operator's side that installs what it is given, whatever it foresees."""

    def __init__(self):
        self.installed = []

    def foresee(self, _text, _today):
        return succeed(["every line of it has expired"])

    def usage(self, *_page, **_more):
        return fail(OperationRefusedError("pool demo is not served"))

    def install(self, text):
        self.installed.append(text)
        return succeed(Installed("sha256:1", "lic-a", []))


@pytest_twisted.ensureDeferred
async def test_a_license_that_grants_less_is_asked_for_once_more(browser):
    """With why; nothing is done before, and the text need not be chosen again."""
    await browser.log_in("operator")
    operator = browser.services.operators["demo"] = Foreseeing()
    asked = await browser.send("/pools/demo/license", text="SERVER+a%0AVENDOR+b%0A")
    assert (asked.status, operator.installed) == (200, [])
    page = asked.body.decode()
    assert "Every line of it has expired." in page
    assert 'value="SERVER a\nVENDOR b\n"' in page
    sure = await browser.send("/pools/demo/license", text="SERVER+a%0D%0AVENDOR+b%0D%0A", sure="yes")
    assert (sure.status, operator.installed) == (303, ["SERVER a\nVENDOR b\n"])
    assert "every line of it has expired" in (await browser.look("/pools/demo")).body.decode()


@pytest_twisted.ensureDeferred
async def test_troubles_of_lsproxy_itself_stand_on_the_first_page(browser):
    """In place of the green sentence; gone with their cause."""
    await browser.log_in("viewer")
    browser.history.trouble = "the history is not kept: the disk is full: free some space"
    page = (await browser.look("/")).body.decode()
    assert "free some space" in page
    answer = await browser.ask("GET", "/api/v1/pools", role="viewer")
    assert answer.content["remarks"] == [browser.history.trouble]
    browser.history.trouble = None
    assert "free some space" not in (await browser.look("/")).body.decode()


@pytest_twisted.ensureDeferred
async def test_a_state_that_cannot_be_written_down_is_done_and_said(browser):
    """On the page of the pool, after the sentence that says it is done, and in the reply to a program."""

    class Full(InMemory):
        def save(self, _pool, _remembered):
            raise StateFileError("state.db: the disk is full")

    await browser.log_in("operator")
    browser.pools["demo"]._memory = Full()
    assert (await browser.send("/pools/demo/state", backend="lic-a", state="maint")).status == 303
    why = "what was decided last would be forgotten at a restart: state.db: the disk is full"
    assert f"lic-a is set to maint.\n{why}" in (await browser.look("/pools/demo")).body.decode()
    body = {"state": "drain"}
    answer = await browser.ask("POST", "/api/v1/pools/demo/backends/lic-b/state", body, role="operator")
    assert answer.content["warning"] == why
    browser.pools["demo"]._memory = InMemory()
    answer = await browser.ask("POST", "/api/v1/pools/demo/backends/lic-a/state", {"state": "ready"}, role="operator")
    assert answer.content["warning"] is None


@pytest_twisted.ensureDeferred
async def test_what_is_not_there_is_said_on_a_page(browser):
    """404 and 405, with a way back."""
    await browser.log_in("operator")
    for path in ("/nothing", "/pools/other", "/pools/demo/other", "/pools/demo/chart.svg?span=year",
                 "/pools/demo/switch?to=other"):  # fmt: skip
        answer = await browser.look(path)
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
    assert (await browser.ask("DELETE", "/events", Cookie=browser.cookie)).status == 405


@pytest_twisted.ensureDeferred
async def test_the_api_is_where_it_was(browser):
    """What is a program's is answered to as by the API alone."""
    assert (await browser.ask("GET", "/healthz")).content == {"ok": True}
    assert (await browser.ask("GET", "/api/v1/pools")).status == 401
    assert (await browser.ask("GET", "/api/nothing", role="viewer")).headers["content-type"] == "application/json"


@pytest_twisted.ensureDeferred
async def test_a_chart_is_an_image_of_its_own(browser):
    """SVG without scripts and other hosts, also where nothing is known yet."""
    await browser.log_in("viewer")
    answer = await browser.look("/pools/demo/chart.svg?span=day&feature=cad")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert b"<script" not in answer.body


@pytest_twisted.ensureDeferred
async def test_tokens_that_cannot_be_read_are_a_page(browser):
    """Whoever asks learns no path of this machine."""
    path = browser.demo.folder / "tokens.yaml"
    path.chmod(0o644)
    try:
        answer = await browser.ask("POST", "/login", "token=of+a+viewer")
        assert answer.status == 500
        assert str(browser.demo.folder).encode() not in answer.body
    finally:
        path.chmod(0o600)


@pytest_twisted.ensureDeferred
async def test_the_unix_socket_reads_pages_and_has_no_forms(browser):
    """A login is what forms are bound to."""
    page = await browser.ask("GET", "/pools/demo", over_unix=True)
    assert page.status == 200
    assert b"Drain" not in page.body
    answer = await browser.ask("POST", "/pools/demo/state", "backend=lic-a&state=maint", over_unix=True)
    assert answer.status == 403


@pytest_twisted.ensureDeferred
async def test_no_body_is_read_of_who_may_not_send_it(browser, audited):
    """Without a login, of another site, or of a viewer: the answer is the same whatever is in it."""
    await browser.log_in("viewer")
    headers = {"Content_Type": "multipart/form-data; boundary=a"}
    path, wrong = "/pools/demo/license", b"no form"
    assert (await browser.ask("POST", path, wrong, **headers)).status == 401
    assert (await browser.ask("POST", path, wrong, role="operator", **headers)).status == 403
    foreign = {**headers, "Sec_Fetch_Site": "cross-site"}
    assert (await browser.ask("POST", path, wrong, Cookie=browser.cookie, **foreign)).status == 403
    assert audited[1:] == []
    assert (await browser.ask("POST", path, wrong, Cookie=browser.cookie, **headers)).status == 403
    assert "viewer from 127.0.0.1 was refused license demo" in audited[-1]
    await browser.log_in("operator")
    assert (await browser.ask("POST", path, wrong, Cookie=browser.cookie, **headers)).status == 400
