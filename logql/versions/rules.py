"""Which files belong to a version: decided by name and size, before anything is read whole or hashed."""

from __future__ import annotations

import os

#: An untracked file of code or text is taken up to this size, and all of them together up to that.
UNTRACKED_LIMIT = 1_000_000
UNTRACKED_TOTAL = 50_000_000
#: Tracked files are taken whatever they hold, as replays need them; these bounds keep the first run short.
TRACKED_LIMIT = 10_000_000
TRACKED_TOTAL = 100_000_000
#: At most so many untracked files of unknown suffix are opened to see whether they are text.
SNIFF_LIMIT = 2_000


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


CODE = _words(
    """
    .py .pyi .pyx .pxd .ipynb .c .cc .cpp .cu .cuh .h .hpp .rs .go .java .jl .js .lua .m .proto .r .scala .sh
    .sql .ts
    """
)
TEXT = _words(
    """
    .bib .cfg .conf .csv .gin .html .ini .j2 .jinja .json .jsonl .jsonnet .lock .md .rst .tex .toml .tsv .txt
    .xml .yaml .yml
    """
)
#: Known not to be code or text, or (logs) to be the output of runs rather than their source.
OTHER = _words(
    """
    .7z .a .arrow .avi .bin .bmp .bz2 .ckpt .db .dll .dylib .feather .flac .gif .gz .h5 .hdf5 .jpeg .jpg .log
    .mov .mp3 .mp4 .npy .npz .o .onnx .out .parquet .pdf .pickle .pkl .png .pt .pth .pyc .pyo .safetensors .so
    .sqlite .sqlite3 .svg .swp .tar .tfrecord .tgz .tif .tiff .wav .webp .whl .xz .zip .zst
    """
)

#: Names that may hold secrets: never read, tracked or not.
SECRET_NAMES = _words(
    """
    .env .envrc .git-credentials .htpasswd .netrc _netrc .npmrc .pgpass .pypirc
    credentials kubeconfig secret secrets token
    """
)
SECRET_PREFIXES = (".env.", "client_secret", "id_dsa", "id_ecdsa", "id_ed25519", "id_rsa")
SECRET_SUFFIXES = (".asc", ".env", ".jks", ".kdbx", ".key", ".keystore", ".p12", ".pem", ".pfx", ".ppk")
#: Such words at the end of a name (without its suffix) are secrets in files of these suffixes.
_SECRET_WORDS = ("credential", "credentials", "secret", "secrets", "service-account", "service_account", "token")
_SECRET_TEXT = (".cfg", ".conf", ".csv", ".ini", ".json", ".toml", ".txt", ".xml", ".yaml", ".yml")
_SECRET_DIRECTORIES = frozenset((".aws", ".gnupg", ".kube", ".ssh"))

#: Directories that hold no code of the project's own, for trees without a repository that would ignore them.
SKIPPED_DIRECTORIES = frozenset(("__pycache__", "node_modules", "site-packages", "wandb", "mlruns"))


def is_secret(path: str) -> bool:
    """Whether a file's name, or that of a directory above it, is on the list of secrets."""
    *directories, name = path.lower().split("/")
    if name in SECRET_NAMES or name.startswith(SECRET_PREFIXES) or name.endswith(SECRET_SUFFIXES):
        return True
    stem, suffix = os.path.splitext(name)
    if suffix in _SECRET_TEXT and stem.endswith(_SECRET_WORDS):
        return True
    return not _SECRET_DIRECTORIES.isdisjoint(directories)


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
