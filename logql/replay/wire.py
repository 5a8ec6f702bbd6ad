"""What a worker and its parent say to each other: length-prefixed JSON frames; reading one never executes anything."""

from __future__ import annotations

import base64
import datetime
import json
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from logql.errors import ReplayError
from logql.model import Logged, Path, Step
from logql.state.readings import Reading

_HEADER = struct.Struct("<I")
#: Values of a list longer than this travel as one packed array where all are floats.
PACKED_FROM = 32
#: Larger integers travel as hexadecimal text: Python bounds the digits of decimal ones.
_PLAIN_BITS = 1024
Frame = dict[str, Any]


def encode_frame(kind: str, **fields: object) -> bytes:
    """One frame; `fields` hold JSON values."""
    body = json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return _HEADER.pack(len(body)) + body


class FrameReader:
    """Cuts the bytes of a pipe into frames; a frame that its writer died in never comes out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""
        self._buffer += data
        position = 0
        while len(self._buffer) - position >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer, position)
            end = position + _HEADER.size + length
            if len(self._buffer) < end:
                break
            frame = _parse(bytes(self._buffer[position + _HEADER.size : end]))
            position = end
            yield frame
        del self._buffer[:position]


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write all of `data`, however little the pipe takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def encode_event(event: Logged) -> list[object]:
    """A logged value as JSON."""
    path = [list(step) for step in event.path]
    return [path, event.name, encode_value(event.value), event.seq, event.sub, event.ts]


def decode_event(data: list[Any]) -> Logged:
    """The value that `encode_event` encoded."""
    path, name, value, seq, sub, ts = data
    return Logged(decode_path(path), name, decode_value(value), seq, sub, ts)


def decode_path(data: list[Any]) -> Path:
    return tuple(Step(loop, entry, index) for loop, entry, index in data)


def encode_value(value: object) -> object:
    """A recorded value as JSON: scalars as they are, the rest tagged by a one-key object."""
    if type(value) is Reading:
        return {"r": float(value)}
    if type(value) is int and value.bit_length() > _PLAIN_BITS:
        return {"i": hex(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"b": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return {"t": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"d": value.isoformat()}
    if isinstance(value, datetime.time):
        return {"h": value.isoformat()}
    if isinstance(value, list | tuple):
        if len(value) >= PACKED_FROM and all(type(item) is float for item in value):
            return {"f": base64.b64encode(struct.pack(f"<{len(value)}d", *value)).decode()}
        return [encode_value(item) for item in value]
    if isinstance(value, Mapping):
        return {"m": [[str(key), encode_value(item)] for key, item in value.items()]}
    raise ReplayError(f"a logged value of type {type(value).__name__} cannot be sent")


def decode_value(data: Any) -> object:
    """The value that `encode_value` encoded; lists come back as lists."""
    if isinstance(data, list):
        return [decode_value(item) for item in data]
    if not isinstance(data, dict):
        return data
    ((tag, content),) = data.items()
    if tag == "b":
        return base64.b64decode(content)
    if tag == "t":
        return datetime.datetime.fromisoformat(content)
    if tag == "d":
        return datetime.date.fromisoformat(content)
    if tag == "h":
        return datetime.time.fromisoformat(content)
    if tag == "i":
        return int(content, 16)
    if tag == "r":
        return Reading(content)
    if tag == "f":
        packed = base64.b64decode(content)
        return list(struct.unpack(f"<{len(packed) // 8}d", packed))
    return {key: decode_value(item) for key, item in content}


def _parse(body: bytes) -> Frame:
    try:
        frame = json.loads(body.decode("utf-8", "surrogatepass"))
    except ValueError as exc:
        raise ReplayError("a worker sent what is not a frame") from exc
    if not isinstance(frame, dict) or "kind" not in frame:
        raise ReplayError("a worker sent what is not a frame")
    return frame
