"""The front parser: tells logql's own statements from DuckDB's by their first words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from logql.errors import ParseError
from logql.sql.split import Token, all_tokens
from logql.sql.statements import (
    Comment,
    CreateKept,
    CreateVirtual,
    DropKept,
    DropVirtual,
    Explain,
    FillColumns,
    Query,
    Setting,
    ShowTables,
    Statement,
    UnfillColumn,
)

#: Settings of logql's own; other names are DuckDB's.
SETTINGS = (
    "replay",
    "replay_budget",
    "replay_workers",
    "replay_threads",
    "replay_fidelity",
    "replay_isolation",
    "disabled_rules",
)


#: What follows SHOW where DuckDB lists things.
_SHOWN_BY_DUCKDB = ("ALL", "DATABASES", "SCHEMAS", "VARIABLES", "TABLES")


#: Clauses that a SELECT may have behind its WHERE.
_CLAUSES = frozenset(
    {"GROUP", "HAVING", "QUALIFY", "WINDOW", "ORDER", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "USING"}
)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def parse_statement(sql: str) -> Statement:
    """What `sql`, one statement, is. Raises ParseError where it starts as one of logql's and goes on wrongly."""
    reader = Reader(sql)
    for words, parse in _STARTS:
        if reader.accept(*words):
            found = parse(reader)
            if found is not None:
                return found
            reader.rewind()
    return Query(sql)


class Reader:
    """Reads a statement token by token."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._tokens = all_tokens(sql)
        self._next = 0

    def rewind(self) -> None:
        self._next = 0

    @property
    def done(self) -> bool:
        return self._next >= len(self._tokens)

    def text(self, token: Token) -> str:
        return self.sql[token.start : token.end]

    def peek(self, ahead: int = 0) -> str:
        """The next token's text, in upper case unless it is quoted; empty at the end."""
        if self._next + ahead >= len(self._tokens):
            return ""
        token = self._tokens[self._next + ahead]
        return self.text(token).upper() if token.kind in ("word", "other") else self.text(token)

    def accept(self, *words: str) -> bool:
        """Pass the words if they come next."""
        if all(self.peek(ahead) == word for ahead, word in enumerate(words)):
            self._next += len(words)
            return True
        return False

    def expect(self, *words: str) -> str:
        """Pass one of the words; ParseError otherwise."""
        for word in words:
            if self.accept(word):
                return word
        raise self.error(f"expected {' or '.join(words)}")

    def name(self) -> str:
        """Pass a name, bare or quoted."""
        token = self._take("a name")
        text = self.text(token)
        if token.kind == "quoted":
            return text[1:-1].replace('""', '"')
        if token.kind != "word":
            self._next -= 1
            raise self.error("expected a name")
        return text

    def identity(self) -> str:
        """Pass the id of a run or version: in quotes, or bare, where it may begin with digits."""
        if not self.done and self._tokens[self._next].kind == "string":
            return self.string()
        first = self._take("an id")
        last = first
        while not self.done and self._tokens[self._next].start == last.end:
            last = self._take("an id")
        text = self.sql[first.start : last.end]
        return text[1:-1] if first.kind == "quoted" else text

    def string(self) -> str:
        """Pass a string in quotes."""
        token = self._take("a string in quotes")
        text = self.text(token)
        if token.kind != "string":
            self._next -= 1
            raise self.error("expected a string in quotes")
        if text[0] == "$":
            mark = text[: text.index("$", 1) + 1]
            return text[len(mark) : -len(mark)]
        return text[text.index("'") + 1 : -1].replace("''", "'")

    def value(self) -> str:
        """Pass a setting's value: a string, a number or a word."""
        if self.done:
            raise self.error("expected a value")
        if self._tokens[self._next].kind == "string":
            return self.string()
        sign = "-" if self.accept("-") else ""
        return sign + self.text(self._take("a value"))

    def rest(self) -> str:
        """Everything that follows, as it was written."""
        if self.done:
            return ""
        start = self._tokens[self._next].start
        self._next = len(self._tokens)
        return self.sql[start:].strip().rstrip(";").rstrip()

    def condition(self) -> str:
        """Everything that follows, which is one condition: a clause behind it is a ParseError."""
        if self.peek() in ("", ";"):
            raise self.error("expected a condition")
        for place, token in self._outside():
            if token.kind == "word" and self.text(token).upper() in _CLAUSES:
                self._next = place
                raise self.error("expected a condition and no more")
        return self.rest()

    def refuse_list(self, message: str) -> None:
        """ParseError where what follows are several things, with commas between them."""
        for place, token in self._outside():
            if self.text(token) == ",":
                self._next = place
                raise self.error(message)

    def _outside(self) -> Iterator[tuple[int, Token]]:
        """The tokens that follow, but for those in brackets, with their places."""
        depth = 0
        for place in range(self._next, len(self._tokens)):
            token = self._tokens[place]
            depth += (self.text(token) in _OPENING) - (self.text(token) in _CLOSING)
            if depth == 0:
                yield place, token

    def end(self) -> None:
        """ParseError unless the statement ends here."""
        self.accept(";")
        if not self.done:
            raise self.error("expected the end of the statement")

    def error(self, message: str) -> ParseError:
        """An error at the next token."""
        if self.done:
            return ParseError(f"{message}, found the end", sql=self.sql, start=len(self.sql), end=len(self.sql) + 1)
        token = self._tokens[self._next]
        return ParseError(f'{message}, found "{self.text(token)}"', sql=self.sql, start=token.start, end=token.end)

    def _take(self, what: str) -> Token:
        if self.done:
            raise self.error(f"expected {what}")
        self._next += 1
        return self._tokens[self._next - 1]


def _explain(reader: Reader) -> Statement:
    analyze, format_ = reader.accept("ANALYZE"), "text"
    if reader.peek(1) in ("ANALYZE", "FORMAT") and reader.accept("("):
        while not reader.accept(")"):
            if reader.accept("ANALYZE"):
                analyze = True
            elif reader.accept("FORMAT"):
                format_ = reader.value().lower()
            else:
                reader.expect(",", ")")
    query = reader.rest()
    if not query:
        raise reader.error("expected a query")
    return Explain(reader.sql, query, analyze, format_)


def _fill(reader: Reader) -> Statement:
    names = [reader.name()]
    while reader.accept(","):
        names.append(reader.name())
    return FillColumns(reader.sql, tuple(names), _where(reader))


def _unfill(reader: Reader) -> Statement:
    return UnfillColumn(reader.sql, reader.name(), _where(reader))


def _where(reader: Reader) -> str | None:
    if reader.done or reader.accept(";"):
        return None
    reader.expect("WHERE")
    return reader.condition()


def _create_virtual(reader: Reader, replace: bool = False) -> Statement:
    name = reader.name()
    reader.expect("AS")
    expression = reader.string()
    position = reader.expect("AFTER", "BEFORE")
    anchor = reader.string()
    file = reader.string() if reader.accept("IN") else None
    reader.end()
    return CreateVirtual(
        reader.sql, name, expression, "AFTER" if position == "AFTER" else "BEFORE", anchor, file, replace
    )


def _drop_virtual(reader: Reader) -> Statement:
    if_exists = reader.accept("IF", "EXISTS")
    name = reader.name()
    reader.end()
    return DropVirtual(reader.sql, name, if_exists)


def _set(reader: Reader) -> Statement | None:
    if not (reader.accept("SESSION") or reader.accept("LOCAL") or reader.accept("GLOBAL")):
        reader.accept("VARIABLE")
    name = reader.name().lower() if not reader.done else ""
    if name not in SETTINGS:
        return None
    reader.expect("=", "TO")
    value = reader.value()
    reader.end()
    return Setting(reader.sql, "SET", name, value)


def _reset(reader: Reader) -> Statement | None:
    name = reader.name().lower() if not reader.done else ""
    if name not in SETTINGS:
        return None
    reader.end()
    return Setting(reader.sql, "RESET", name, None)


def _show(reader: Reader) -> Statement | None:
    """SHOW of a setting, SHOW TABLES, and SHOW of a relation, which is DESCRIBE; the rest is DuckDB's."""
    if reader.accept("TABLES"):
        return ShowTables(reader.sql) if reader.done else None
    if reader.done or reader.peek() in _SHOWN_BY_DUCKDB:
        return None
    text = reader.rest()
    if text.lower() in SETTINGS:
        return Setting(reader.sql, "SHOW", text.lower(), None)
    return Query(f"DESCRIBE {text}")


def _comment(reader: Reader) -> Statement | None:
    if reader.peek() not in ("COLUMN", "RUN", "VERSION"):
        return None
    word = reader.expect("COLUMN", "RUN", "VERSION")
    target = reader.name() if word == "COLUMN" else reader.identity()
    while word == "COLUMN" and target.lower() in ("logs", "history") and reader.accept("."):
        target = reader.name()
    if reader.peek() == ".":
        return None
    reader.expect("IS")
    text = None if reader.accept("NULL") else reader.string()
    reader.end()
    kinds = {"COLUMN": Comment(reader.sql, "column", target, text), "RUN": Comment(reader.sql, "run", target, text)}
    return kinds.get(word, Comment(reader.sql, "version", target, text))


def _create(reader: Reader) -> Statement | None:
    replace = reader.accept("OR", "REPLACE")
    if reader.accept("VIRTUAL", "COLUMN"):
        return _create_virtual(reader, replace)
    if reader.accept("VIEW"):
        return _kept(reader, "view", replace)
    if reader.accept("MACRO") or reader.accept("FUNCTION"):
        return _kept(reader, "macro", replace)
    return None


def _kept(reader: Reader, kind: str, replace: bool) -> Statement | None:
    missing = reader.accept("IF", "NOT", "EXISTS")
    name = _kept_name(reader)
    if name is None:
        return None
    parameters = _parameters(reader) if reader.peek() == "(" else ()
    if not reader.accept("AS"):
        return None
    table = kind == "view" or reader.accept("TABLE")
    if not table:
        reader.refuse_list("expected the end: a macro has one list of parameters")
    body = reader.rest()
    if not body:
        raise reader.error("expected a query")
    return CreateKept(
        reader.sql, "view" if kind == "view" else "macro", name, parameters, body, table, replace, missing
    )


def _kept_name(reader: Reader) -> str | None:
    """The name of a view or macro; None where it says a schema that is not the one of what is kept."""
    name = reader.name()
    if reader.peek() == "." and name.lower() == "main":
        reader.accept(".")
        name = reader.name()
    return None if reader.peek() == "." else name


def _parameters(reader: Reader) -> tuple[tuple[str, str | None], ...]:
    found: list[tuple[str, str | None]] = []
    reader.expect("(")
    while not reader.accept(")"):
        name, default = reader.name(), None
        if reader.accept(":", "=") or reader.accept("=", ">"):
            default = _default(reader)
        found.append((name, default))
        if not reader.accept(","):
            reader.expect(")")
            break
    return tuple(found)


def _default(reader: Reader) -> str:
    parts, depth = [], 0
    while not reader.done and not (depth == 0 and reader.peek() in (",", ")")):
        depth += (reader.peek() == "(") - (reader.peek() == ")")
        parts.append(reader.text(reader._take("a value")))
    return " ".join(parts)


def _drop(reader: Reader) -> Statement | None:
    if reader.accept("VIRTUAL", "COLUMN"):
        return _drop_virtual(reader)
    kind = "view" if reader.accept("VIEW") else "macro" if reader.accept("MACRO") or reader.accept("FUNCTION") else ""
    if not kind:
        return None
    reader.accept("TABLE")
    if_exists = reader.accept("IF", "EXISTS")
    name = _kept_name(reader)
    reader.accept("CASCADE")
    if name is None or not reader.done:
        return None
    return DropKept(reader.sql, "view" if kind == "view" else "macro", name, if_exists)


_STARTS: tuple[tuple[tuple[str, ...], Callable[[Reader], Statement | None]], ...] = (
    (("EXPLAIN",), _explain),
    (("FILL",), _fill),
    (("UNFILL",), _unfill),
    (("CREATE",), _create),
    (("DROP",), _drop),
    (("SET",), _set),
    (("RESET",), _reset),
    (("SHOW",), _show),
    (("COMMENT", "ON"), _comment),
)
