"""A disk that loses power: what was not synced is gone. Knows what Python syncs, not what SQLite does by itself."""

from __future__ import annotations

import os


class Disk:
    """Watches `os.fsync` from now on: the content of each file, and the entries of each directory, when last synced."""

    def __init__(self) -> None:
        self._files: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self._fsync = os.fsync
        os.fsync = self._sync  # type: ignore[assignment]

    def _sync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        number = os.fstat(descriptor).st_ino
        if os.path.isdir(path):
            self._entries[number] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            with open(path, "rb") as file:
                self._files[number] = file.read()

    def survive(self, directory: str, into: str) -> None:
        """Make `into` what is left of `directory`; a file that was never synced is empty."""
        os.mkdir(into)
        for name, number in self._entries.get(os.stat(directory).st_ino, {}).items():
            path, left = os.path.join(directory, name), os.path.join(into, name)
            if os.path.isdir(path):
                self.survive(path, left)
            elif number in self._files or os.path.exists(path):
                with open(left, "wb") as file:
                    file.write(self._files.get(number, b""))
