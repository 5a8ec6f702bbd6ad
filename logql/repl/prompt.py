"""The prompt itself: keys, history, completion, colours and the toolbar."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import completion_is_selected, has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle, PromptSession
from prompt_toolkit.styles import Style

from logql.repl.completion import Candidate, complete
from logql.repl.highlight import SqlLexer
from logql.repl.meta_completion import complete_command
from logql.repl.shell import is_command
from logql.sql.split import is_complete

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer

    from logql.repl.shell import Shell

_STYLE = Style.from_dict(
    {
        "sql.keyword": "bold ansiblue",
        "sql.string": "ansigreen",
        "sql.number": "ansicyan",
        "sql.comment": "italic ansibrightblack",
        "sql.function": "ansimagenta",
        "sql.virtual": "italic ansiyellow",
        "sql.command": "ansimagenta",
        "kind.virtual": "italic ansiyellow",
        "kind.recorded": "ansigreen",
        "kind.loop": "ansicyan",
        "kind.keyword": "ansibrightblack",
        "bottom-toolbar": "noreverse bg:ansibrightblack ansiwhite",
        "live": "bold ansigreen",
    }
)
_COLOURED_KINDS = frozenset({"virtual", "recorded", "loop", "keyword"})
_QUIT = frozenset({"quit", "exit", "help"})
#: So much of a store's path is shown in the narrowest terminal.
_LEAST_PATH = 12


class NameCompleter(Completer):
    """Completes SQL and commands from the names that the background keeps fresh."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The candidates for the word before the cursor."""
        names = self._shell.backend.names
        before, after = document.text_before_cursor, document.text_after_cursor
        found = complete_command(before, names) if is_command(before) else complete(before, after, names)
        if not complete_event.completion_requested and found and found[0].length == 0:
            return ()
        return map(_completion, found)


def make_session(shell: Shell) -> PromptSession[str]:
    """A prompt for one shell. What the engine needs is loaded once the prompt is on the screen."""
    session: PromptSession[str] = PromptSession(
        message=[("bold", "logql> ")],
        multiline=True,
        prompt_continuation=_continuation,
        lexer=SqlLexer(lambda: shell.backend.names),
        completer=NameCompleter(shell),
        complete_while_typing=True,
        complete_style=CompleteStyle.COLUMN,
        auto_suggest=AutoSuggestFromHistory(),
        history=_history(),
        key_bindings=_keys(),
        style=_STYLE,
        bottom_toolbar=lambda: toolbar(shell),
        enable_open_in_editor=True,
        search_ignore_case=True,
        include_default_pygments_style=False,
        reserve_space_for_menu=6,
    )
    shell.backend.on_change = lambda: _take_names(session)

    def begin(_: object) -> None:
        shell.backend.start()

    session.app.after_render += begin
    return session


def _take_names(session: PromptSession[str]) -> None:
    """Draw anew with new names, and offer them where a menu is open; called from any thread."""
    app, loop = session.app, session.app.loop
    if not app.is_running or loop is None:
        return

    def offer() -> None:
        buffer = session.default_buffer
        state = buffer.complete_state
        unmoved = state is not None and state.complete_index is None
        if app.is_running and unmoved and buffer.document.get_word_before_cursor():
            buffer.cancel_completion()
            buffer.start_completion(select_first=False)
        app.invalidate()

    with contextlib.suppress(RuntimeError):  # the prompt has just ended
        loop.call_soon_threadsafe(offer)


def toolbar(shell: Shell) -> StyleAndTextTuples:
    """Store, replay mode and budget, form of results, runs that are being recorded; of a long path its end."""
    backend = shell.backend
    home = os.path.expanduser("~")
    store = backend.store.replace(home, "~", 1) if backend.store.startswith(home + os.sep) else backend.store
    budget = backend.option("replay_budget")
    settings = f"  replay {backend.option('replay')}, budget {budget:g} s  mode {shell.look.mode}"
    live = f"  {backend.live_runs} live run{'' if backend.live_runs == 1 else 's'}" if backend.live_runs else ""
    room = max(_LEAST_PATH, get_app().output.get_size().columns - len(f" {settings}{live}"))
    shown = store if len(store) <= room else f"…{store[1 - room :]}"
    return [("", f" {shown}{settings}"), ("class:live", live)]


def is_finished(text: str) -> bool:
    """Whether Enter runs a text: a command, a statement with its semicolon, or nothing."""
    stripped = text.strip()
    return is_command(text) or stripped.lower() in _QUIT or is_complete(text)


def history_path() -> str:
    """The file of the history of statements."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "logql", "history")


def _history() -> History:
    path = history_path()
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "ab"):
            pass
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


def _keys() -> KeyBindings:
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @keys.add("enter", filter=typing & ~completion_is_selected)
    def _enter(event: KeyPressEvent) -> None:
        buffer: Buffer = event.current_buffer
        if is_finished(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    @keys.add("enter", filter=typing & completion_is_selected)
    def _take(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None

    @keys.add("escape", "enter", filter=typing)
    def _run(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return keys


def _continuation(width: int, number: int, wrapped: int) -> StyleAndTextTuples:  # noqa: ARG001
    return [("class:sql.comment", ("." * 3).rjust(width - 1) + " ")]


def _completion(candidate: Candidate) -> Completion:
    meta: Any = f"{candidate.kind} {candidate.detail}".strip()
    style = f"class:kind.{candidate.kind}" if candidate.kind in _COLOURED_KINDS else ""
    return Completion(
        candidate.text,
        start_position=-candidate.length,
        display=[(style, candidate.shown or candidate.text)],
        display_meta=meta,
    )
