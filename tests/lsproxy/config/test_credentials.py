"""Secrets that the service manager lays out: paths that begin with $CREDENTIALS_DIRECTORY/."""

import pytest

from lsproxy.config.check import load_config
from lsproxy.config.problems import ConfigError


@pytest.fixture
def config(folder, good):
    """Writes lsproxy.yaml with `old` replaced by `new`."""

    def write(old, new):
        path = folder / "lsproxy.yaml"
        assert old in good
        path.write_text(good.replace(old, new))
        return path

    return write


def problem(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0])


def test_a_secret_is_found_in_the_credentials(config, folder, monkeypatch):
    """Read-only for the user of the service, as systemd lays it out."""
    credentials = folder / "run"
    credentials.mkdir()
    (credentials / "ops").write_text("s3cret")
    (credentials / "ops").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    loaded = load_config(config("operator.token", "$CREDENTIALS_DIRECTORY/ops"))
    assert loaded.pools["acme"].token_file == credentials / "ops"


def test_where_there_are_none_it_is_said(config, monkeypatch):
    """With what to do by hand."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    told = problem(config("operator.token", "$CREDENTIALS_DIRECTORY/ops"))
    assert "lsproxy.yaml:12: pools.acme.token_file" in told
    assert "CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with LoadCredential=" in told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("license_file: acme.lic", "license_file: $CREDENTIALS_DIRECTORY/acme.lic"),
        ("{socket: admin.sock", '{socket: admin.sock, tokens_file: "$CREDENTIALS_DIRECTORY/tokens.yaml"'),
    ],
)
def test_a_file_that_is_no_secret_is_none(config, monkeypatch, old, new):
    """Nor is tokens_file, which `lsproxy token add` writes."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    assert "only what is secret may be one" in problem(config(old, new))


def test_no_other_variable_means_anything(config, folder, monkeypatch):
    """A path is taken as it stands."""
    monkeypatch.setenv("SECRETS", str(folder))
    assert "$SECRETS/operator.token does not exist" in problem(config("operator.token", "$SECRETS/operator.token"))
