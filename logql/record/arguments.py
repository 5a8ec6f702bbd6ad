"""Overrides of hyper-parameters: `LOGQL_ARGS="lr=0.1 epochs=5"`, which is also how `logql run -a` passes them."""

from __future__ import annotations

import json
import os
from typing import Any

from logql.record import guard

_TRUE = frozenset(("1", "true", "yes", "on"))
_FALSE = frozenset(("0", "false", "no", "off"))


def read_overrides() -> dict[str, str]:
    """Texts by name, as LOGQL_ARGS has them in shell's quoting."""
    text = os.environ.get("LOGQL_ARGS", "")
    if not text.strip():
        return {}
    import shlex

    pairs = (word.partition("=") for word in shlex.split(text))
    return {name: value for name, equals, value in pairs if equals and name}


def override(name: str, text: str, default: object) -> Any:
    """`text` as a value of the default's type; the default, with a warning, where it cannot be read so."""
    try:
        return parse(text, default)
    except (ValueError, TypeError):
        kind = type(default).__name__
        guard.warn(f"arg {name}", f"{name}={text!r} is no {kind}: the default {default!r} is used")
        return default


def parse(text: str, default: object) -> Any:
    """Read `text` as the type of `default`; without a default, as the number or word that it looks like."""
    if default is None:
        return _guess(text)
    if isinstance(default, bool):
        return _parse_bool(text)
    if isinstance(default, (list, tuple)):
        return type(default)(_parse_items(text, default[0] if default else None))
    if isinstance(default, (int, float, str)):
        return type(default)(text)
    return _guess(text)


def _parse_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(text)


def _parse_items(text: str, example: object) -> list[Any]:
    if text.lstrip().startswith("["):
        items = json.loads(text)
        if not isinstance(items, list):
            raise ValueError(text)
        return [item if example is None else parse(str(item), example) for item in items]
    return [parse(item.strip(), example) for item in text.split(",") if item.strip()]


def _guess(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"none": None, "null": None, "true": True, "false": False}.get(text.lower(), text)
