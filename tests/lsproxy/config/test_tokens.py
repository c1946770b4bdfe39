"""tokens.yaml: names, roles and hashes; a token is found by itself alone."""

import stat
from pathlib import Path

import pytest

from lsproxy.config.problems import ConfigError
from lsproxy.config.scalars import UnfitValueError
from lsproxy.config.tokens import Token, TokenExistsError, add_token, find_token, hash_token, is_token_of, load_tokens
from lsproxy.secretfile import SecretFileError

SALT = bytes(range(16))
# RFC 7914's function over these inputs, computed once with OpenSSL's scrypt (N=16384, r=8, p=1)
KNOWN = Token(
    name="known",
    role="viewer",
    hash="scrypt:14:8:1:AAAAAAAAAAAAAAAAAAAAAA==:kZ0KLc9ORGzwS7dGuwjoQMumMfExQ6P5-yykBwrlq9w=",
)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_token_is_kept_as_a_hash_and_found_again(tmp_path: Path):
    """With its name and role; another token finds nobody; the file is closed and holds no token."""
    path = tmp_path / "tokens.yaml"
    add_token(path, "ops", "operator", "t0ken-of-ops", SALT)
    add_token(path, "wall", "viewer", "t0ken-of-wall", SALT[::-1])
    tokens = load_tokens(path)
    assert [(one.name, one.role) for one in tokens] == [("ops", "operator"), ("wall", "viewer")]
    assert find_token("t0ken-of-wall", tokens) == tokens[1]
    assert find_token("t0ken-of-ops", tokens) == tokens[0]
    assert find_token("t0ken-of-nobody", tokens) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "t0ken" not in path.read_text()


def test_a_hash_written_by_an_earlier_release_is_still_verified():
    """The form of a hash is a promise."""
    assert is_token_of("tok", KNOWN)
    assert not is_token_of("Tok", KNOWN)
    assert not is_token_of("", KNOWN)


def test_equal_tokens_have_unequal_hashes():
    """The salt sees to it."""
    assert hash_token("t", SALT) != hash_token("t", SALT[::-1])


def test_a_header_of_any_text_is_only_a_wrong_token():
    """Also one that UTF-8 cannot spell."""
    assert not is_token_of("\udcff", KNOWN)


def test_a_name_is_given_once(tmp_path: Path):
    """The second is refused and the file stays as it was."""
    path = tmp_path / "tokens.yaml"
    add_token(path, "ops", "operator", "a", SALT)
    before = path.read_bytes()
    with pytest.raises(TokenExistsError, match="has a token named ops already, choose another name"):
        add_token(path, "ops", "viewer", "b", SALT)
    with pytest.raises(UnfitValueError, match='"a b" is no name'):
        add_token(path, "a b", "viewer", "b", SALT)
    assert path.read_bytes() == before


def test_without_a_file_there_are_no_tokens(tmp_path: Path):
    """A fresh installation has none."""
    assert load_tokens(tmp_path / "tokens.yaml") == ()


def test_a_tokens_file_open_to_others_is_refused(tmp_path: Path):
    """Reading and adding alike."""
    path = write(tmp_path / "tokens.yaml", "tokens: []\n")
    path.chmod(0o640)
    with pytest.raises(SecretFileError, match="open to others"):
        load_tokens(path)
    with pytest.raises(SecretFileError, match="open to others"):
        add_token(path, "ops", "operator", "a", SALT)


def test_mistakes_of_a_tokens_file_are_told_by_line(tmp_path: Path):
    """As in every configuration; what stands for a hash is not repeated, it may be the token."""
    path = write(
        tmp_path / "t.yaml",
        f"tokens:\n- {{name: a, role: admin, hash: '{KNOWN.hash}'}}\n- {{name: b, role: viewer, hash: t0ken}}\n"
        f"- {{name: b, role: viewer, hash: '{KNOWN.hash}'}}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_tokens(path)
    assert str(caught.value).replace(str(tmp_path), "DIR").splitlines() == [
        'DIR/t.yaml:2: tokens[0].role: must be operator or viewer, not "admin"',
        "DIR/t.yaml:3: tokens[1].hash: is no hash of a token, add one with: lsproxy token add NAME --role viewer",
        "DIR/t.yaml:4: tokens[2].name: b stands twice, give each token its own name",
    ]


@pytest.mark.parametrize("parameters", ["30:8:1", "14:8000:1", "14:8:99", "9:8:1"])
def test_a_hash_cannot_ask_for_the_machines_memory(tmp_path: Path, parameters: str):
    """Its parameters are bounded before scrypt sees them."""
    hostile = KNOWN.hash.replace("14:8:1", parameters)
    path = write(tmp_path / "t.yaml", f"tokens: [{{name: a, role: viewer, hash: '{hostile}'}}]\n")
    with pytest.raises(ConfigError, match="is no hash of a token"):
        load_tokens(path)
    assert not is_token_of("tok", Token(name="a", role="viewer", hash=hostile))
