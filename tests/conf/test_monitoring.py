"""The alert rules, the dashboard and docs/monitoring.md name metrics that there are, and Prometheus takes them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from licserver.metrics import CATALOG as LICSERVER
from lsproxy.metrics.catalog import CATALOG as LSPROXY

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "conf" / "alerts.yaml"
DASHBOARD = ROOT / "conf" / "grafana-dashboard.json"
PAGE = ROOT / "docs" / "monitoring.md"

KINDS = {named.name: named.kind for named in (*LSPROXY, *LICSERVER)}
"""What each daemon answers, which tests/lsproxy/metrics/test_metrics.py compares with the live text."""
SERIES = {
    f"{name}{suffix}": name
    for name, kind in KINDS.items()
    for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
}
NAME = re.compile(r"\b(?:lsproxy|licserver|flexlm)_[a-z_]+\b")


def promtool(*arguments):
    command = [shutil.which("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions(tree):
    """Every PromQL text of a dashboard, and what fills its variables."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in {"expr", "definition"}:
                yield value
            else:
                yield from expressions(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from expressions(value)


@pytest.mark.promtool
def test_the_rules_are_rules():
    """As `promtool check rules` reads them."""
    promtool("check", "rules", ALERTS)


@pytest.mark.promtool
def test_each_alert_fires_in_its_case_alone():
    """As alerts_test.yaml tells it, with `promtool test rules`."""
    promtool("test", "rules", Path(__file__).parent / "alerts_test.yaml")


def test_every_alert_has_its_case():
    """And stands in the case in which all is well."""
    cases = yaml.safe_load((Path(__file__).parent / "alerts_test.yaml").read_text())["tests"]
    names = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for case in cases[0]["alert_rule_test"]} == names
    told = "".join(str(case["promql_expr_test"]) for case in cases[1:])
    assert {name for name in names if name not in told} == {"TakeoverLimitNearlySpent"}  # by its severity
    assert "critical" in told


def test_alerts_and_dashboard_name_series_that_are():
    """A metric that was renamed is not missed silently."""
    used = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert used <= SERIES.keys()
    drawn = {name for text in expressions(json.loads(DASHBOARD.read_text())) for name in NAME.findall(text)}
    assert drawn <= SERIES.keys()
    assert len(drawn) > 20


def test_the_dashboard_is_whole():
    """Each panel has its own number and place, and asks the data source that is chosen at the import."""
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${DS_PROMETHEUS}"
    assert [given["name"] for given in board["__inputs"]] == ["DS_PROMETHEUS"]


@pytest.mark.promtool
def test_the_dashboard_asks_what_prometheus_understands(tmp_path):
    """Every expression, with Grafana's variables filled in, parses as a rule."""
    texts = [text for text in expressions(json.loads(DASHBOARD.read_text())) if not text.startswith("label_values")]
    filled = [re.sub(r"\$__(rate_interval|range)", "5m", text).replace("$pool", ".*") for text in texts]
    path = tmp_path / "rules.yaml"
    found = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(filled)]
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": found}]}))
    promtool("check", "rules", path)


@pytest.mark.promtool
def test_the_scrape_configuration_of_the_page(tmp_path):
    """Prometheus takes it as it stands there."""
    (example,) = re.findall(r"```yaml\n(# prometheus\.yml\n.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "prometheus.yml"
    shutil.copy(ALERTS, tmp_path)
    (tmp_path / "lsproxy.token").touch()
    text = example.replace("/etc/prometheus/lsproxy-alerts.yaml", str(tmp_path / "alerts.yaml"))
    path.write_text(text.replace("/etc/prometheus/lsproxy.token", str(tmp_path / "lsproxy.token")))
    promtool("check", "config", path)
    assert {job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]} == {
        name for rule in rules() for name in re.findall(r'job="(\w+)"', rule["expr"])
    }


def test_the_page_names_every_metric_and_no_other():
    """Its tables are the catalogs: name, kind, labels, sentence."""
    rows = re.findall(r"^\| `((?:lsproxy|licserver|flexlm)_\w+)` \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    told = [(name, about, sentence) for name, about, sentence in rows]
    assert told == [
        (
            named.name,
            named.kind + (f" by {', '.join(f'`{label}`' for label in named.labels)}" if named.labels else ""),
            named.help,
        )
        for named in (*LSPROXY, *LICSERVER)
    ]
    assert {name for name in NAME.findall(PAGE.read_text()) if not name.endswith("_")} <= SERIES.keys() | KINDS.keys()


def test_the_page_names_every_alert_and_no_other():
    """With what to do."""
    named = re.findall(r"^\| `([A-Z]\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert named == [rule["alert"] for rule in rules()]
