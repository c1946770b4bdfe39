"""How a person comes in, and goes."""

import pytest_twisted

from lsproxy.admin.login import COOKIE


@pytest_twisted.ensureDeferred
async def test_a_browser_is_sent_to_the_login_and_from_there_to_the_panel(browser):
    """A token typed once becomes a cookie; the page needs it."""
    assert (await browser.look("/")).headers["location"] == "./login"
    assert (await browser.look("/pools/demo")).headers["location"] == "../login"
    assert b'type="password"' in (await browser.look("/login")).body
    answer = await browser.ask("POST", "/login", "token=of+a+viewer")
    assert (answer.status, answer.headers["location"]) == (303, "./")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    page = await browser.ask("GET", "/", Cookie=cookie.partition(";")[0])
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"demo-licenses" in page.body


@pytest_twisted.ensureDeferred
async def test_a_wrong_token_stays_at_the_login(browser):
    """No cookie, and the reason."""
    answer = await browser.ask("POST", "/login", "token=guess")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert b"not in tokens.yaml" in answer.body


@pytest_twisted.ensureDeferred
async def test_the_form_of_another_site_is_not_taken(browser):
    """Nobody is logged in as somebody else by a page elsewhere."""
    for header in ({"Origin": "http://attacker.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert (await browser.ask("POST", "/login", "token=of+a+viewer", **header)).status == 403
    own = f"http://127.0.0.1:{browser.port}"
    assert (await browser.ask("POST", "/login", "token=of+a+viewer", Origin=own)).status == 303


@pytest_twisted.ensureDeferred
async def test_a_login_link_counts_once_and_leaves_the_address(browser):
    """Its code is exchanged for a cookie, and the browser goes on to an address without it."""
    assert (await browser.ask("POST", "/api/v1/login-link", role="viewer")).status == 403
    path = (await browser.ask("POST", "/api/v1/login-link", over_unix=True)).content["path"]
    first = await browser.ask("GET", path)
    assert (first.status, first.headers["location"]) == (303, "./")
    assert first.headers["set-cookie"].startswith(COOKIE)
    second = await browser.ask("GET", path)
    assert second.status == 401
    assert "set-cookie" not in second.headers


@pytest_twisted.ensureDeferred
async def test_logging_out_ends_the_login(browser):
    """The cookie counts no more, for whoever has kept it; without the form's token nobody is logged out."""
    await browser.log_in("viewer")
    assert (await browser.send("/logout", form="guess")).status == 403
    assert (await browser.look("/logout")).status == 200
    answer = await browser.send("/logout")
    assert (answer.status, answer.headers["location"]) == (303, "./login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await browser.look("/")).status == 303


@pytest_twisted.ensureDeferred
async def test_looking_at_a_link_does_not_spend_it(browser):
    """Programs that check links ask for the headers alone."""
    path = (await browser.ask("POST", "/api/v1/login-link", over_unix=True)).content["path"]
    assert "set-cookie" not in (await browser.ask("HEAD", path)).headers
    assert (await browser.ask("GET", path)).status == 303


@pytest_twisted.ensureDeferred
async def test_who_logs_in_again_has_one_cookie(browser):
    """The one that came with the request counts no more."""
    await browser.log_in("viewer")
    former = browser.cookie
    answer = await browser.ask("POST", "/login", "token=of+an+operator", Cookie=former)
    assert answer.status == 303
    assert (await browser.ask("GET", "/", Cookie=former)).status == 303  # to the login


@pytest_twisted.ensureDeferred
async def test_a_login_is_small_and_plain(browser):
    """Anybody may send one: nothing else is read."""
    kind = "multipart/form-data; boundary=a"
    body = b'--a\r\nContent-Disposition: form-data; name="token"\r\n\r\nof a viewer\r\n--a--\r\n'
    assert (await browser.ask("POST", "/login", body, Content_Type=kind)).status == 400
    assert (await browser.ask("POST", "/login", "token=" + "x" * 5000)).status == 413
