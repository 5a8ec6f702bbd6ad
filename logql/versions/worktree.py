"""What git says about a user's work tree, asked without writing anything to the repository."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from logql.settings import STORE_DIR

#: Seconds after which a git that hangs (a network file system, a lock) counts as failed.
TIMEOUT = 20.0


@dataclass(frozen=True)
class Head:
    """The commit checked out: its id, its tree's, its parents, and what `versions` shows of it."""

    commit: str
    tree: str
    parents: tuple[str, ...]
    author: str
    message: str
    committed_at: float
    raw: bytes


@dataclass(frozen=True)
class WorkTree:
    """State of a work tree. Paths are relative to the directory asked for; `head` is None on an unborn branch.

    `unwatched` are tracked files that git was told not to look at (assume-unchanged, skip-worktree), with their blobs.
    """

    head: Head | None
    branch: str | None
    tracked: tuple[str, ...]
    untracked: tuple[str, ...]
    clean: bool
    unwatched: Mapping[str, str] = field(default_factory=dict)


class GitFailed(Exception):
    """Raised when git is not there, or does not answer."""


def find_repository(directory: str) -> str | None:
    """The nearest parent of `directory` that holds a `.git`, or None."""
    while not os.path.exists(os.path.join(directory, ".git")):
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent
    return directory


def read_worktree_state(directory: str, skip: str | None = None) -> WorkTree:
    """Ask git for the state of the work tree around `directory`; paths under `skip` (the store) do not count."""
    options = _without_filters(directory)
    status = [
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "-uall",
        "--no-renames",
        "--ignore-submodules=none",
        "--",
        ".",
    ]
    answers = _run_together(
        directory,
        options,
        status,
        ["ls-files", "-z", "-v", "--stage", "--", "."],
        ["rev-parse", "--show-prefix"],
        ["cat-file", "commit", "HEAD"],
    )
    for answer in answers[:3]:
        if answer is None:
            raise GitFailed("git did not answer")
    status_out, files_out, prefix_out, head_out = answers
    prefix = os.fsdecode((prefix_out or b"").rstrip(b"\n"))
    tracked, unwatched = _parse_files(files_out or b"")
    oid, branch, untracked, changed = _parse_status(status_out or b"", prefix, skip)
    head = parse_commit(oid, head_out) if oid and head_out is not None else None
    clean = head is not None and not changed and not untracked
    return WorkTree(head, branch, tracked, tuple(untracked), clean, unwatched)


def parse_commit(commit: str, raw: bytes) -> Head:
    """Read a commit object."""
    header, _, message = raw.partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    for line in header.decode("utf-8", "replace").split("\n"):
        key, _, value = line.partition(" ")
        fields.setdefault(key, []).append(value)
    author = fields.get("author", [""])[0].rpartition(">")[0] + ">"
    when = fields.get("committer", ["0 +0000"])[0].rsplit(" ", 2)[-2]
    text = message.decode("utf-8", "replace").strip("\n")
    return Head(commit, fields["tree"][0], tuple(fields.get("parent", ())), author, text, float(when), raw)


def is_store(path: str, store: str | None) -> bool:
    """Whether a path lies in the store (relative to the project as well), or in any of the usual name."""
    return STORE_DIR in path.split("/") or (store is not None and (path + "/").startswith(store + "/"))


def run_git(directory: str, *arguments: str, options: tuple[str, ...] = (), stdin: bytes = b"") -> bytes:
    """Run one git command that only reads; GitFailed where it fails."""
    answer = _run_together(directory, options, list(arguments), stdin=stdin)[0]
    if answer is None:
        raise GitFailed(f"git {arguments[0]} failed")
    return answer


def _parse_files(output: bytes) -> tuple[tuple[str, ...], dict[str, str]]:
    """All paths, and the blobs of those whose tag tells that git does not look at them."""
    tracked: dict[str, None] = {}
    unwatched: dict[str, str] = {}
    for entry in output.split(b"\0")[:-1]:
        described, _, name = entry.partition(b"\t")
        path = os.fsdecode(name)
        tracked[path] = None
        if described[:1] == b"S" or described[:1].islower():
            unwatched[path] = described.split(b" ")[2].decode("ascii")
    return tuple(tracked), unwatched


def _parse_status(output: bytes, prefix: str, skip: str | None) -> tuple[str, str | None, list[str], bool]:
    oid, branch, untracked, changed = "", None, [], False
    for entry in (os.fsdecode(part) for part in output.split(b"\0") if part):
        if entry.startswith("# branch.oid "):
            oid = entry[13:].replace("(initial)", "")
        elif entry.startswith("# branch.head "):
            branch = None if entry[14:] == "(detached)" else entry[14:]
        elif entry.startswith("? "):
            path = entry[2:].removeprefix(prefix)
            if not is_store(path, skip):
                untracked.append(path)
        elif entry[:1] in "12u":
            changed = True
    return oid, branch, untracked, changed


def _without_filters(directory: str) -> tuple[str, ...]:
    """Options that switch the user's clean filters off: they are slow, may be missing, and write (git-lfs does)."""
    try:
        names = run_git(
            directory, "config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process|required)$"
        )
    except GitFailed:
        return ()
    options: list[str] = []
    for name in dict.fromkeys(os.fsdecode(part) for part in names.split(b"\0") if part):
        options += ["-c", f"{name}=false" if name.endswith("required") else f"{name}="]
    return tuple(options)


def _environment() -> dict[str, str]:
    """The user's environment without what points git elsewhere, and with optional locks off: no index is refreshed."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith("GIT_CONFIG_")
    }
    return kept | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def _run_together(
    directory: str, options: tuple[str, ...], *commands: list[str], stdin: bytes = b""
) -> list[bytes | None]:
    """Run several git commands at once; None for each that failed."""
    import subprocess

    base = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *options]
    environment = _environment()
    processes = []
    try:
        for command in commands:
            processes.append(
                subprocess.Popen(
                    [*base, *command],
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
        outputs = [process.communicate(stdin, timeout=TIMEOUT)[0] for process in processes]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitFailed(str(error)) from error
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return [output if process.returncode == 0 else None for process, output in zip(processes, outputs, strict=True)]
