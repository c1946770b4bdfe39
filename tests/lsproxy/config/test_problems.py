"""A problem is one line, whatever a file holds."""

from lsproxy.config.problems import ConfigError, Problem, quote, spell


def test_a_problem_names_file_line_and_path():
    """Without a line or a path, that part is left out."""
    whole = Problem(file="a.yaml", line=3, path="pools.acme", sentence="is wrong")
    assert str(whole) == "a.yaml:3: pools.acme: is wrong"
    assert str(Problem(file="a.yaml", sentence="is gone")) == "a.yaml: is gone"


def test_problems_stand_in_the_order_of_their_lines():
    """As one reads the file."""
    error = ConfigError([Problem(file="a", line=n, sentence="is wrong") for n in (9, 10, 2)])
    assert str(error) == "a:2: is wrong\na:9: is wrong\na:10: is wrong"


def test_a_path_is_spelt_as_people_write_it():
    """Keys by dots, positions in brackets; a key of nonsense is cut and made printable."""
    assert spell(("pools", "acme", "hostids", 2)) == "pools.acme.hostids[2]"
    assert spell(("a\nb", "k" * 100)) == "a\N{REPLACEMENT CHARACTER}b." + "k" * 64 + "…"


def test_a_quoted_text_is_one_short_printable_line():
    """Control characters neither break the line nor reach the terminal."""
    assert quote("a\x1b[31m\n") == '"a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}"'
    assert quote("x" * 65) == '"' + "x" * 64 + '…"'
