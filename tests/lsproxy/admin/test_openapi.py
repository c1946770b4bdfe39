"""The OpenAPI document says what the calls do: by its parts, and by being asked everything it allows and forbids."""

import http.client
import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from lsproxy.admin.openapi import document
from lsproxy.admin.routes import ROUTES
from lsproxy.config.tokens import SALT_BYTES, add_token
from tests.faults.system import System

TOKEN = "of an operator"  # noqa: S105 - of this test alone
EXAMPLES = 12
DOCUMENT = document("0.1.0")
LOADED = schemathesis.openapi.from_dict(DOCUMENT)
# One has nothing in it that could be wrong.
ASKED = [
    (mode, route.method, route.pattern)
    for mode in GenerationMode
    for route in ROUTES
    if (mode, route.call) != (GenerationMode.NEGATIVE, "healthz")
]
UNSAID = {
    "/api/v1/history": [positive_data_acceptance],  # that since comes before until
    "/api/v1/pools/{pool}/client-config": [positive_data_acceptance],  # what a host name is
}


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_route_stands_in_it_and_nothing_else():
    """With the method and the names in its path."""
    assert {(method, path) for method, path, _ in operations()} == {(route.method, route.pattern) for route in ROUTES}
    for _, path, operation in operations():
        named = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"]
        assert [f"{{{name}}}" for name in named] == [part for part in path.split("/") if part.startswith("{")]


def test_every_reference_leads_somewhere():
    """Replies, bodies and their parts are all described."""
    text = json.dumps(DOCUMENT)
    found = {part.partition('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert found <= set(DOCUMENT["components"]["schemas"])
    assert {"PoolSnapshot", "Refusal", "FeatureUsage", "Installed"} <= found


def test_who_may_make_a_call_is_said():
    """All but the question whether anybody is there need a token."""
    needs = {route.pattern: route.need for route in ROUTES}
    for _, path, operation in operations():
        assert operation["security"] == ([] if needs[path] == "nobody" else [{"token": []}])


def test_any_request_may_be_none():
    """A query of hundreds of fields is 400 wherever it goes, also where no token is needed."""
    assert all("400" in operation["responses"] for _, _, operation in operations())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A system of real processes; what is done to it here matters to nobody else."""
    system = System(tmp_path_factory.mktemp("openapi"), has_proxy=True)
    add_token(system.folder / "tokens.yaml", "ops", "operator", TOKEN, bytes(SALT_BYTES))
    system.start()
    yield system
    faults = system.faults_in_logs()
    system.end()
    assert not faults, faults


def test_it_is_served(served):
    """To whoever has a token, as what is written here."""
    connection = http.client.HTTPConnection(*served.addresses["admin"], timeout=10)
    connection.request("GET", "/api/v1/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    assert json.loads(connection.getresponse().read()) == DOCUMENT
    connection.close()


@pytest.mark.parametrize(("mode", "method", "path"), ASKED)
def test_what_it_says_is_true(served, mode, method, path):
    """Whatever is asked, by it or against it: the status, the headers and the body of the answer stand in it."""
    operation = LOADED[path][method]
    strategy = operation.as_strategy(generation_mode=mode)
    where = "http://{}:{}".format(*served.addresses["admin"])

    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, is_known=st.sampled_from([True, True, False]))
    def ask(case, *, is_known):
        if is_known:  # else hardly any name would be that of a pool
            names = {"pool": "acme", "backend": "lic-a"}
            case.path_parameters.update({name: names[name] for name in case.path_parameters})
        if path == "/api/v1/events" and (mode is GenerationMode.POSITIVE or "follow" not in case.query):
            case.query["follow"] = "false"  # the stream would not end
        # wrong tokens are followed by a pause, which that check takes for a fault
        case.call_and_validate(
            base_url=where,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=15,
            excluded_checks=[ignored_auth, *UNSAID.get(path, [])],
        )

    ask()
