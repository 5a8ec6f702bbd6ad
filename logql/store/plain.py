"""Logged values as JSON and back: what a WAL record, a manifest or a result may carry without executing anything."""

from __future__ import annotations

import base64
import datetime
import json

from logql.errors import CorruptFile

#: Integers beyond this many bits travel as hexadecimal text: Python bounds the digits of decimal ones.
_PLAIN_BITS = 1024


def dumps(values: object) -> bytes:
    """JSON of lists, dicts, text, numbers, bytes, dates and None; floats come back bit for bit, NaN included."""
    return json.dumps(encode(values), separators=(",", ":"), check_circular=False).encode()


def loads(data: bytes) -> object:
    """What `dumps` wrote; CorruptFile on anything else."""
    try:
        return decode(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise CorruptFile(f"not an encoded value: {exc}") from exc


def encode(value: object) -> object:
    """`value` in JSON's types; a dict stands for what JSON has no word for, under a one-letter key."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _PLAIN_BITS else {"i": hex(value)}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"d": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, (bytes, bytearray)):
        return {"b": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return {"t": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"e": value.isoformat()}
    if isinstance(value, datetime.time):
        return {"m": value.isoformat()}
    raise TypeError(f"cannot encode a {type(value).__name__}")


def decode(value: object) -> object:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "d":
        return {decode(key): decode(item) for key, item in content}
    if tag == "b":
        return base64.b64decode(content, validate=True)
    if tag == "i":
        return int(content, 16)
    if tag == "t":
        return datetime.datetime.fromisoformat(content)
    if tag == "e":
        return datetime.date.fromisoformat(content)
    if tag == "m":
        return datetime.time.fromisoformat(content)
    raise ValueError(f"unknown tag {tag!r}")
