"""What each call of the admin API does. The license servers are down, so what needs one is refused."""

import pytest
import pytest_twisted
from twisted.logger import globalLogPublisher


@pytest.fixture
def audited():
    """The audit lines, as they come."""
    lines = []

    def observe(event):
        if event.get("event") == "audit":
            lines.append(event["log_format"].format(**{k: v for k, v in event.items() if k != "log_format"}))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest_twisted.ensureDeferred
async def test_health_is_for_everybody(panel):
    """It answers without a token."""
    answer = await panel.ask("GET", "/healthz")
    assert (answer.status, answer.content) == (200, {"ok": True})


@pytest_twisted.ensureDeferred
async def test_pools_are_shown_to_viewers(panel):
    """All of them, or one; to nobody without a token."""
    pools = (await panel.ask("GET", "/api/v1/pools", role="viewer")).content["pools"]
    assert [pool["pool"] for pool in pools] == ["demo"]
    one = (await panel.ask("GET", "/api/v1/pools/demo", role="viewer")).content
    assert [backend["name"] for backend in one["backends"]] == ["lic-a", "lic-b"]
    assert (await panel.ask("GET", "/api/v1/pools")).status == 401


@pytest_twisted.ensureDeferred
async def test_an_unknown_name_is_404_with_advice(panel):
    """The nearest name is proposed."""
    answer = await panel.ask("GET", "/api/v1/pools/dmo", role="viewer")
    assert (answer.status, answer.content["error"]) == (404, "not_found")
    assert answer.content["message"] == "lsproxy has no pool 'dmo', did you mean demo?"
    answer = await panel.ask("POST", "/api/v1/pools/demo/backends/x/state", {"state": "ready"}, role="operator")
    assert answer.content["message"] == "pool demo has no backend 'x'; it has lic-a, lic-b"


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_done_is_refused_with_its_reason(panel):
    """409, and the sentence says what there is."""
    for path, body in (
        ("switch", {"to": "lic-b"}), ("switch", {}), ("remove", {"seat": 7}), ("activate", {"key": "ABC"}),
    ):  # fmt: skip
        answer = await panel.ask("POST", f"/api/v1/pools/demo/{path}", body, role="operator")
        assert (answer.status, answer.content["error"]) == (409, "refused"), path
        assert "lic-b" in answer.content["message"] or "demo" in answer.content["message"]
    for path in ("usage", "request-key"):
        assert (await panel.ask("GET", f"/api/v1/pools/demo/{path}", role="viewer")).status == 409
    answer = await panel.ask("PUT", "/api/v1/pools/demo/license", "no license", role="operator")
    assert answer.status == 409


@pytest_twisted.ensureDeferred
async def test_a_backend_is_set_by_an_operator_only(panel, audited):
    """The change is made and audited; a viewer's is neither made nor forgotten."""
    path = "/api/v1/pools/demo/backends/lic-a/state"
    assert (await panel.ask("POST", path, {"state": "maint"}, role="viewer")).status == 403
    assert panel.pools["demo"].snapshot().backends[0].admin == "ready"
    answer = await panel.ask("POST", path, {"state": "maint"}, role="operator")
    done = {"pool": "demo", "backend": "lic-a", "state": "maint", "serving": None, "warning": None}
    assert answer.content == done
    assert panel.pools["demo"].snapshot().backends[0].admin == "maint"
    refused = "viewer is a viewer, this needs the token of an operator"
    assert audited == [
        f"audit: somebody from 127.0.0.1 was refused state demo lic-a state=maint: {refused}",
        "audit: operator (operator) from 127.0.0.1: state demo lic-a state=maint: done",
    ]


@pytest.mark.parametrize("body", ["{", "[]", '{"state": "gone"}', '{"state": "ready", "more": 1}', "\udc80", "{}"])
@pytest_twisted.ensureDeferred
async def test_a_wrong_body_is_400(panel, body):
    """With what is wrong in it."""
    body = body.encode("utf-8", "surrogateescape")
    answer = await panel.ask("POST", "/api/v1/pools/demo/backends/lic-a/state", body, role="operator")
    assert (answer.status, answer.content["error"]) == (400, "bad_request")


@pytest_twisted.ensureDeferred
async def test_a_reload_says_what_changed_or_why_not(panel):
    """Its changes, or the refusal's sentence."""
    answer = await panel.ask("POST", "/api/v1/reload", role="operator")
    assert answer.content == {"changes": ["pools.demo.hold: changed"]}
    panel.reload_problem = "lsproxy.yaml:3: pools: must be a mapping"
    answer = await panel.ask("POST", "/api/v1/reload", role="operator")
    assert (answer.status, answer.content["message"]) == (409, panel.reload_problem)


@pytest_twisted.ensureDeferred
async def test_on_the_unix_socket_no_token_is_needed(panel, audited):
    """The account of the process is audited."""
    answer = await panel.ask("POST", "/api/v1/reload", over_unix=True)
    assert answer.status == 200
    assert "(operator) from process" in audited[0]
    assert audited[0].endswith("on the unix socket: reload: done")


@pytest_twisted.ensureDeferred
async def test_tokens_that_cannot_be_read_let_nobody_in(panel):
    """Whoever asks learns no path of this machine; the unix socket goes on."""
    path = panel.demo.folder / "tokens.yaml"
    path.chmod(0o644)
    try:
        answer = await panel.ask("GET", "/api/v1/pools", role="viewer")
        assert answer.status == 500
        assert b"tokens.yaml" not in answer.body
        assert (await panel.ask("GET", "/api/v1/pools", over_unix=True)).status == 200
    finally:
        path.chmod(0o600)
    assert (await panel.ask("GET", "/api/v1/pools", role="viewer")).status == 200


@pytest_twisted.ensureDeferred
async def test_usage_takes_only_a_query_it_knows(panel):
    """That of the seat protocol; anything else is 400."""
    for query in ("limit=0", "after=x", "more=1", "limit=100000"):
        answer = await panel.ask("GET", f"/api/v1/pools/demo/usage?{query}", role="viewer")
        assert (answer.status, answer.content["error"]) == (400, "bad_request"), query


@pytest_twisted.ensureDeferred
async def test_a_login_link_that_is_handed_out_is_audited(panel, audited):
    """Whoever follows it is an operator."""
    for _ in range(2):  # the same, as a window shows it
        assert (await panel.ask("POST", "/api/v1/login-link", role="operator")).status == 200
    assert audited == ["audit: operator (operator) from 127.0.0.1: login_link: done"]


@pytest_twisted.ensureDeferred
async def test_a_number_without_end_is_400(panel, audited):
    """It goes to no server, and not into the log."""
    answer = await panel.ask("POST", "/api/v1/pools/demo/remove", '{"seat": 1e300}', role="operator")
    assert answer.status == 400
    assert all(len(line) < 300 for line in audited)


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_not_audited_at_any_length(panel, audited):
    """Its beginning says enough."""
    panel.reload_problem = "x" * 20_000
    assert (await panel.ask("POST", "/api/v1/reload", role="operator")).status == 409
    assert len(audited[0]) < 1200
