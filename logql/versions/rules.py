"""Which files belong to a version: decided by name and size, before anything is read whole or hashed."""

from __future__ import annotations

import fnmatch
import os
import re

#: An untracked file of code or text is taken up to this size, and all of them together up to that.
UNTRACKED_LIMIT = 1_000_000
UNTRACKED_TOTAL = 50_000_000
#: Tracked files are taken whatever they hold, as replays need them; these bounds keep the first run short.
TRACKED_LIMIT = 10_000_000
TRACKED_TOTAL = 100_000_000
#: At most so many untracked files of unknown suffix are opened to see whether they are text.
SNIFF_LIMIT = 2_000


def _suffixes(words: str) -> frozenset[str]:
    return frozenset(words.split())


CODE = _suffixes(
    """
    .py .pyi .pyx .pxd .ipynb .c .cc .cpp .cu .cuh .h .hpp .rs .go .java .jl .js .lua .m .proto .r .scala .sh
    .sql .ts
    """
)
TEXT = _suffixes(
    """
    .bib .cfg .conf .csv .gin .html .ini .j2 .jinja .json .jsonl .jsonnet .lock .md .rst .tex .toml .tsv .txt
    .xml .yaml .yml
    """
)
#: Known not to be code or text, or (logs) to be the output of runs rather than their source.
OTHER = _suffixes(
    """
    .7z .a .arrow .avi .bin .bmp .bz2 .ckpt .db .dll .dylib .feather .flac .gif .gz .h5 .hdf5 .jpeg .jpg .log
    .mov .mp3 .mp4 .npy .npz .o .onnx .out .parquet .pdf .pickle .pkl .png .pt .pth .pyc .pyo .safetensors .so
    .sqlite .sqlite3 .svg .swp .tar .tfrecord .tgz .tif .tiff .wav .webp .whl .xz .zip .zst
    """
)

#: Names that may hold secrets: never read, tracked or not.
SECRETS = (
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    ".git-credentials",
    ".htpasswd",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    "*.asc",
    "*.jks",
    "*.kdbx",
    "*.key",
    "*.keystore",
    "*.p12",
    "*.pem",
    "*.pfx",
    "*.ppk",
    "client_secret*.json",
    "credentials",
    "*credentials.cfg",
    "*credentials.csv",
    "*credentials.ini",
    "*credentials.json",
    "*credentials.toml",
    "*credentials.txt",
    "*credentials.y*ml",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "id_rsa*",
    "kubeconfig",
    "secret",
    "secrets",
    "secret.*",
    "secrets.*",
    "*service-account*.json",
    "*service_account*.json",
    "token",
    "*token.json",
    "*token.txt",
)
_SECRET_DIRECTORIES = frozenset((".aws", ".gnupg", ".kube", ".ssh"))
_SECRET = re.compile("|".join(fnmatch.translate(pattern) for pattern in SECRETS))

#: Directories that hold no code of the project's own, for trees without a repository that would ignore them.
SKIPPED_DIRECTORIES = frozenset(("__pycache__", "node_modules", "site-packages", "wandb", "mlruns"))


def is_secret(path: str) -> bool:
    """Whether a file's name, or that of a directory above it, is on the list of secrets."""
    *directories, name = path.lower().split("/")
    return _SECRET.match(name) is not None or not _SECRET_DIRECTORIES.isdisjoint(directories)


def suffix_of(path: str) -> str:
    """The lower-case suffix of a path, with its dot; empty where there is none."""
    return os.path.splitext(path)[1].lower()


def looks_like_text(path: str) -> bool:
    """Whether a file begins as UTF-8 text without NUL bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) == 4096
    return True
