"""Settings of one connection: what SET, RESET and SHOW change, and the environment does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from logql.errors import ProgrammingError


@dataclass(frozen=True)
class Options:
    """How missing cells are filled. `workers` and `threads` of None follow the machine and the record."""

    replay: str = "auto"
    replay_budget: float = 300.0
    replay_workers: int | None = None
    replay_threads: int | None = None
    replay_fidelity: str = "warn"
    replay_isolation: str = "auto"
    disabled_rules: frozenset[str] = frozenset()

    def set(self, name: str, value: str) -> Options:
        """The options with `name` set from its text. Raises ProgrammingError for a value that it cannot have."""
        return replace(self, **{name: _READERS[name](name, value)})  # type: ignore[arg-type]

    def reset(self, name: str) -> Options:
        """The options with `name` at its default."""
        default = next(field.default for field in fields(self) if field.name == name)
        return replace(self, **{name: default})  # type: ignore[arg-type]

    def show(self, name: str) -> str:
        """The text of a setting."""
        value = getattr(self, name)
        if isinstance(value, frozenset):
            return ", ".join(sorted(value))
        return "auto" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _choice(*allowed: str) -> Callable[[str, str], object]:
    def read(name: str, value: str) -> object:
        if value.lower() not in allowed:
            raise ProgrammingError(f"{name} is one of {', '.join(allowed)}, not {value!r}", candidates=())
        return value.lower()

    return read


def _seconds(name: str, value: str) -> object:
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not found >= 0:
        raise ProgrammingError(f"{name} is a number of seconds, not {value!r}")
    return found


def _count(name: str, value: str) -> object:
    if value.lower() in ("auto", "default"):
        return None
    if not value.isdigit() or int(value) < 1:
        raise ProgrammingError(f"{name} is a positive number or 'auto', not {value!r}")
    return int(value)


def _names(name: str, value: str) -> object:  # noqa: ARG001
    return frozenset(part.strip() for part in value.split(",") if part.strip())


_READERS: dict[str, Callable[[str, str], object]] = {
    "replay": _choice("auto", "ask", "off"),
    "replay_budget": _seconds,
    "replay_workers": _count,
    "replay_threads": _count,
    "replay_fidelity": _choice("warn", "strict"),
    "replay_isolation": _choice("auto", "strong", "weak"),
    "disabled_rules": _names,
}
