"""Parsing with sqlglot, and macros written out."""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock, local

from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from logql.errors import BindError
from logql.sql.dialect import read
from logql.sql.names import at, parse_error, syntax_error
from logql.sql.split import all_tokens, tokens
from logql.sql.walk import copied, find

#: Characters up to which the tree of a text is kept: it takes about 200 bytes for each.
_LONGEST_KEPT = 30_000
#: So many texts are remembered.
_REMEMBERED = 64
#: The texts asked last, with the trees of those asked twice: dashboards ask the same again, and a copy takes a fifth of
#: a parse's time. The tree of the first time is given away.
_asked: OrderedDict[str, exp.Expr | None] = OrderedDict()
_lock = Lock()


class _Silence(local):
    """Keeps to itself what sqlglot would tell stderr of statements that it leaves to DuckDB, in threads that parse."""

    on = False

    def filter(self, _: logging.LogRecord) -> bool:
        """Whether the record is passed on."""
        return not self.on


_silence = _Silence()
logging.getLogger("sqlglot").addFilter(_silence.filter)


def parse(sql: str) -> exp.Expr:
    """The syntax tree of one statement of DuckDB's, which is the caller's to change."""
    if len(sql) > _LONGEST_KEPT or not _asked_before(sql):
        return _parsed(sql)
    kept = _asked.get(sql) or _parsed(sql)
    with _lock:
        _asked[sql] = kept
    return copied(kept, frozenset())


def forget_texts() -> None:
    """Parse every text anew, as one that was never asked."""
    with _lock:
        _asked.clear()
    all_tokens.cache_clear()


def _asked_before(sql: str) -> bool:
    with _lock:
        before = sql in _asked
        _asked[sql] = _asked.pop(sql, None)
        if len(_asked) > _REMEMBERED:
            _asked.popitem(last=False)
    return before


def _parsed(sql: str) -> exp.Expr:
    _silence.on = True
    try:
        return read(sql)
    except ParseError as error:
        raise syntax_error(sql, error.errors[0] if error.errors else {}) from error
    except TokenError as error:
        raise parse_error(sql, 1, 1, str(error).split("\n")[0]) from error
    finally:
        _silence.on = False


def expand(body: str, parameters: tuple[tuple[str, str | None], ...], call: exp.Expr, sql: str) -> exp.Expr:
    """The tree of a macro's body with its parameters replaced by the arguments of `call`."""
    named = {part.this.name.lower(): part.expression for part in call.expressions if isinstance(part, exp.PropertyEQ)}
    placed = [part for part in call.expressions if not isinstance(part, exp.PropertyEQ)]
    known = [name for name, _ in parameters]
    for name in named.keys() - {name.lower() for name in known}:
        raise at(BindError, f'the macro has no parameter "{name}"', sql, call, f"it has {', '.join(known) or 'none'}")
    if len(placed) > len(known):
        raise at(BindError, f"the macro takes {len(known)} values, and {len(placed)} are given", sql, call)
    values: dict[str, exp.Expr] = {}
    for place, (name, default) in enumerate(parameters):
        given = placed[place] if place < len(placed) else named.get(name.lower())
        if given is None and default is None:
            raise at(BindError, f'the macro needs a value for "{name}"', sql, call)
        values[name.lower()] = given if given is not None else scalar(str(default))
    tree = parse(body) if _is_query(body) else scalar(body)
    holder = exp.Paren(this=tree)
    for node in list(find(holder, exp.Column, exp.Dot)):
        first, *fields = _parts(node)
        value = values.get(first.name.lower()) if isinstance(first, exp.Identifier) else None
        if value is not None and not (fields and _is_source(first)):
            node.replace(exp.Dot.build([exp.paren(value.copy()), *fields]) if fields else exp.paren(value.copy()))
    found: exp.Expr = holder.this
    return found


def _parts(node: exp.Column | exp.Dot) -> list[exp.Expr]:
    """A name and what follows it: fields of its value, or a call of a method."""
    return list(node.parts) if isinstance(node, exp.Column) else list(node.flatten())


def _is_source(name: exp.Expr) -> bool:
    """Whether a FROM around a name calls something so."""
    around = name.find_ancestor(exp.Select)
    while isinstance(around, exp.Select):
        from_ = around.args.get("from_")
        items = [*([from_] if from_ is not None else []), *(around.args.get("joins") or ())]
        if any(item.this.alias_or_name.lower() == name.name.lower() for item in items):
            return True
        around = around.find_ancestor(exp.Select)
    return False


def scalar(text: str) -> exp.Expr:
    """The tree of an expression."""
    select = parse(f"SELECT {text}")
    found: exp.Expr = select.expressions[0]
    return found


def _is_query(body: str) -> bool:
    first = next(tokens(body), None)
    return first is not None and body[first.start : first.end].upper() in ("SELECT", "WITH", "FROM", "PIVOT", "VALUES")
