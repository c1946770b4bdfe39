"""What was filled in in a form: its fields by name, an uploaded file's content among them."""

from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl

from lsproxy.admin.exchange import BAD_REQUEST, Asked, RefusedError

_MULTIPART = "multipart/form-data"
_MOST_FIELDS = 20


def filled_in(asked: Asked) -> dict[str, str]:
    """The fields of the form in the body; of several with one name the last. Raises RefusedError, 400."""
    kind = asked.headers.get("content-type", "")
    try:
        if kind.lower().startswith(_MULTIPART):
            return _parts(kind, asked.body)
        pairs = parse_qsl(asked.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
        return dict(pairs)
    except UnicodeDecodeError:
        raise RefusedError(BAD_REQUEST, "bad_request", "what was sent is not UTF-8 text") from None
    except ValueError as problem:
        raise RefusedError(BAD_REQUEST, "bad_request", f"the form cannot be read: {problem}") from problem


def _parts(kind: str, body: bytes) -> dict[str, str]:
    head = f"Content-Type: {kind}\r\nMIME-Version: 1.0\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise ValueError("it has no parts")
    parts = list(message.iter_parts())
    if len(parts) > _MOST_FIELDS:
        raise ValueError(f"it has more than {_MOST_FIELDS} fields")
    fields: dict[str, str] = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields
