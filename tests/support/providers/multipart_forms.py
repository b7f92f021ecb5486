"""Multipart forms as plain data."""

from email import message_from_bytes
from email.message import Message
from typing import Any


def form_of(content_type: str, body: bytes) -> list[dict[str, Any]]:
    """Fields in their order: name and text, or name, file name, type and content (in hex) of a file."""
    whole = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return [_field(part) for part in whole.get_payload() if isinstance(part, Message)]


def _field(part: Message) -> dict[str, Any]:
    content = part.get_payload(decode=True)
    data = content if isinstance(content, bytes) else b""
    name, file = part.get_param("name", header="Content-Disposition"), part.get_filename()
    if file is None:
        return {"name": name, "value": data.decode("utf-8")}
    return {"name": name, "file": file, "type": part.get_content_type(), "content": data.hex()}
