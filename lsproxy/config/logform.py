"""In which form does a configuration want its log, also when the rest of it is wrong? A fault is to be told in it."""

from pathlib import Path

from lsproxy.config.document import Scalar, read_document
from lsproxy.config.problems import ConfigError
from lsproxy.logs import Form


def wanted_form(path: Path) -> Form:
    """What `log.format` of the file at `path` says; text where nothing can be made of it."""
    try:
        said = read_document(path).at("log", "format")
    except ConfigError:
        return "text"
    return "json" if isinstance(said, Scalar) and said.text == "json" else "text"
