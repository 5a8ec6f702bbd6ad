"""What can stand at the cursor: a pure function of the text around it and the names there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from logql.repl.names import FUNCTIONS, RESERVED, SETTING_VALUES, Name, Names
from logql.sql.split import Token, tokens

_RELATION_WORDS = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "DESCRIBE", "SUMMARIZE", "TABLE", "VIEW"})
_OTHER_WORDS = (
    "SELECT WHERE ON BY HAVING QUALIFY AND OR NOT CASE WHEN THEN ELSE DISTINCT USING VALUES LIMIT RETURNING "
    "SET RESET SHOW FILL UNFILL COLUMN VERSION RUN WITH EXPLAIN"
)
_CLAUSES = _RELATION_WORDS | frozenset(_OTHER_WORDS.split())
_STARTS = (
    "SELECT", "FROM", "WITH", "EXPLAIN", "FILL", "UNFILL", "CREATE", "DROP", "COMMENT", "SET", "RESET", "SHOW",
    "DESCRIBE", "SUMMARIZE", "COPY", "INSERT", "UPDATE", "DELETE", "PIVOT", "BEGIN", "COMMIT", "ROLLBACK",
)  # fmt: skip
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
#: Kinds of names in the order in which they are offered.
_ORDER = ("relation", "loop", "recorded", "virtual", "arg", "system", "column", "alias", "table", "view", "value")


@dataclass(frozen=True)
class Candidate:
    """A text that can replace the last `length` characters before the cursor."""

    text: str
    length: int
    kind: str
    detail: str = ""
    shown: str = ""


@dataclass(frozen=True)
class Scope:
    """The relations that a statement reads: alias or name in lower case -> relation's name."""

    sources: dict[str, str]
    ctes: tuple[str, ...]


class _Words:
    """The tokens of one statement as texts."""

    def __init__(self, sql: str, found: Sequence[Token]) -> None:
        self.texts = [sql[token.start : token.end] for token in found]
        self.kinds = [token.kind for token in found]

    def upper(self, number: int) -> str:
        return self.texts[number].upper() if -len(self.texts) <= number < len(self.texts) else ""


def complete(before: str, after: str, names: Names) -> list[Candidate]:
    """Candidates for the word that ends at the cursor, the likeliest first."""
    found = _statement(before)
    if found and found[-1].kind in ("line", "block"):
        return []
    prefix, quoted = "", False
    if found and found[-1].end == len(before) and found[-1].kind in ("word", "open", "number"):
        prefix = before[found[-1].start :]
        quoted = prefix.startswith('"')
        if found[-1].kind == "number" or (found[-1].kind == "open" and not quoted):
            return _setting_values(before, found, prefix, names)
        found = found[:-1]
    elif _in_comment(before, found):
        return []
    words = _Words(before, found)
    scope = find_scope(before + after)
    options = list(_options(words, scope, names, prefix))
    return _match(options, prefix, quoted)


def find_scope(sql: str) -> Scope:
    """The relations and common table expressions of a text, whether or not it is finished."""
    found = list(tokens(sql))
    words = _Words(sql, found)
    sources: dict[str, str] = {}
    ctes = []
    for i in range(len(found)):
        if words.upper(i) in _RELATION_WORDS - {"TABLE", "VIEW"}:
            _read_sources(words, i + 1, sources)
        if words.upper(i) == "AS" and words.upper(i + 1) == "(" and i and words.kinds[i - 1] in ("word", "quoted"):
            ctes.append(_bare(words.texts[i - 1]))
    return Scope(sources, tuple(ctes))


def quote(name: str) -> str:
    """A name as SQL wants it: bare where that means the same, else in double quotes."""
    bare = _PLAIN.match(name) is not None or (_PLAIN.match(name.lower()) is not None)
    return name if bare and name.lower() not in RESERVED else '"' + name.replace('"', '""') + '"'


def _statement(before: str) -> list[Token]:
    """The tokens since the last semicolon."""
    found = list(tokens(before))
    ends = [i for i, token in enumerate(found) if token.kind == "other" and before[token.start] == ";"]
    return found[ends[-1] + 1 :] if ends else found


def _in_comment(before: str, found: Sequence[Token]) -> bool:
    rest = before[found[-1].end :] if found else before
    return "--" in rest.rpartition("\n")[2]


def _read_sources(words: _Words, start: int, sources: dict[str, str]) -> None:
    """Read `a, b AS c, history.d e` from `start` on."""
    i = start
    while i < len(words.texts) and words.kinds[i] in ("word", "quoted") and words.upper(i) not in _CLAUSES:
        relation = _bare(words.texts[i])
        while words.upper(i + 1) == "." and i + 2 < len(words.texts):
            i += 2
            relation = _bare(words.texts[i])
        alias = relation
        step = 2 if words.upper(i + 1) == "AS" else 1
        if i + step < len(words.texts) and _is_alias(words, i + step):
            i += step
            alias = _bare(words.texts[i])
        sources[alias.lower()] = relation
        if words.upper(i + 1) != ",":
            return
        i += 2


def _is_alias(words: _Words, i: int) -> bool:
    return words.kinds[i] == "quoted" or (words.kinds[i] == "word" and words.texts[i].lower() not in _NO_ALIAS)


_NO_ALIAS = RESERVED | {"asof", "natural", "positional", "semi", "anti", "set", "tablesample", "values"}


def _bare(text: str) -> str:
    return text[1:].removesuffix('"').replace('""', '"') if text.startswith('"') else text


def _options(words: _Words, scope: Scope, names: Names, prefix: str) -> Iterator[Name]:
    """Everything that can stand behind `words`."""
    if words.upper(-1) == "." and len(words.texts) >= 2:
        yield from _members(_bare(words.texts[-2]), scope, names)
        return
    clause, distance = _clause(words)
    previous = words.upper(-1)
    if clause == "":
        yield from (Name(word, "keyword") for word in (_STARTS if not words.texts else names.keywords))
    elif clause in ("SET", "RESET", "SHOW") and distance == 0:
        yield from (Name(name, "setting") for name in names.settings)
    elif clause == "SET" and words.upper(0) == "SET":
        yield from (Name(value, "value") for value in SETTING_VALUES.get(words.texts[-2].lower(), ()))
    elif clause in ("FILL", "UNFILL", "COLUMN") and (distance == 0 or previous in (",", ".")):
        yield from names.logged
    elif clause == "VERSION" and distance == 0:
        yield from (Name(f"'{version}'", "value") for version in names.versions)
    elif clause in _RELATION_WORDS and (distance == 0 or previous == ","):
        yield from _relations(scope, names)
    elif clause in _RELATION_WORDS or clause in ("FILL", "UNFILL", "COLUMN"):
        yield from (Name(word, "keyword") for word in names.keywords)
    else:
        yield from _expression(scope, names, prefix)


def _clause(words: _Words) -> tuple[str, int]:
    """The clause that the cursor is in, out of what encloses it, and how many words behind its start."""
    depth = distance = 0
    for i in range(len(words.texts) - 1, -1, -1):
        word = words.upper(i)
        if word == ")":
            depth += 1
        elif word == "(":
            depth -= 1
        elif depth <= 0 and word in _CLAUSES and words.kinds[i] == "word":
            return word, distance
        distance += 1
    return "", distance


def _members(qualifier: str, scope: Scope, names: Names) -> Iterator[Name]:
    """What follows a dot: columns of a relation, or relations of a schema."""
    if qualifier.lower() in ("history", "main"):
        for relation, kind in names.kinds.items():
            if (kind in ("table", "view")) == (qualifier.lower() == "main"):
                yield Name(relation, kind)
        return
    relation = scope.sources.get(qualifier.lower(), qualifier)
    yield from _columns_of(relation, names)


def _columns_of(relation: str, names: Names) -> Iterable[Name]:
    lower = relation.lower()
    return next((columns for name, columns in names.relations.items() if name.lower() == lower), ())


def _relations(scope: Scope, names: Names) -> Iterator[Name]:
    yield from (Name(cte, "relation", "in this statement") for cte in scope.ctes)
    for relation, kind in sorted(names.kinds.items()):
        yield Name(relation, kind, f"{len(names.relations.get(relation, ()))} columns")


def _expression(scope: Scope, names: Names, prefix: str) -> Iterator[Name]:
    """Columns of the statement's relations (of `logs`, as long as it has none), aliases, functions, keywords."""
    seen: set[str] = set()
    for relation in list(dict.fromkeys(scope.sources.values())) or ["logs"]:
        for column in _columns_of(relation, names):
            if column.text not in seen:
                seen.add(column.text)
                yield column
    yield from (Name(alias, "alias", relation) for alias, relation in scope.sources.items())
    if prefix:
        yield from (Name(name, "function", "of the row's cell") for name in FUNCTIONS)
        yield from (Name(name, "function") for name in names.functions if name not in FUNCTIONS)
    yield from (Name(word, "keyword") for word in names.keywords)


def _setting_values(before: str, found: Sequence[Token], prefix: str, names: Names) -> list[Candidate]:
    """Values of a setting, as the only strings that are known beforehand."""
    words = _Words(before, found)
    if words.upper(0) not in ("SET", "COMMENT"):
        return []
    options = list(_options(_Words(before, found[:-1]), Scope({}, ()), names, prefix))
    fitting = [name for name in options if name.kind == "value" and name.text.startswith(prefix)]
    return [Candidate(name.text, len(prefix), name.kind, shown=name.text) for name in fitting]


def _match(options: Iterable[Name], prefix: str, quoted: bool) -> list[Candidate]:
    """Names that start with the prefix, then names that have it inside."""
    wanted = _bare(prefix).lower()
    ranked: dict[tuple[str, str], tuple[int, int, str, Candidate]] = {}
    for name in options:
        lower = name.text.lower()
        word = name.kind in ("keyword", "function", "value", "setting")
        if (quoted and word) or wanted not in lower or (word and not lower.startswith(wanted)):
            continue
        place = 0 if lower.startswith(wanted) else 1
        kind = _ORDER.index(name.kind) if name.kind in _ORDER else len(_ORDER) + (name.kind == "keyword")
        text = _written(name, prefix, quoted)
        candidate = Candidate(text, len(prefix), name.kind, name.detail, name.text)
        ranked.setdefault((lower, name.kind), (place, kind, lower, candidate))
    return [found[-1] for found in sorted(ranked.values(), key=lambda found: found[:3])]


def _written(name: Name, prefix: str, quoted: bool) -> str:
    if name.kind == "keyword":
        return name.text.lower() if prefix and prefix == prefix.lower() else name.text
    if name.kind == "function":
        return name.text + "("
    if name.kind in ("value", "setting"):
        return name.text
    return '"' + name.text.replace('"', '""') + '"' if quoted else quote(name.text)
