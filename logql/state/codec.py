"""The manifest: a graph as JSON, with its arrays as blobs; small arrays share one.

Loading a manifest unpickles atoms (dates, dtypes and the like) of the project's own store.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from logql.errors import CorruptFile, StateError, StoreError
from logql.state.graph import Address, Atom, Buffer, Global, Graph, Node, Packed, Ref, SavedRoot
from logql.state.readings import Reading

if TYPE_CHECKING:
    from logql.state.save import BlobStore

FORMAT = 1
_PACKED_BELOW = 1 << 20
_PLAIN = frozenset({type(None), bool, str, float, Reading})
_LARGE = 1 << 63


def dump(graph: Graph, blobs: BlobStore) -> tuple[str, int]:
    """Write a graph; returns the manifest's digest and the bytes handed over."""
    buffers = list(buffers_of(graph))
    written = _write_buffers(buffers, blobs)
    numbers = {id(buffer): number for number, buffer in enumerate(buffers)}
    text = json.dumps(_as_json(graph, buffers, numbers), separators=(",", ":")).encode("ascii")
    manifest = blobs.put(text)
    stored: dict[str, bool] = {}
    if not all(_is_stored(buffer.place[0], blobs, stored) for buffer in buffers if buffer.place is not None):
        raise StoreError("a part of the checkpoint was collected as garbage while it was being written")
    return manifest, written + len(text)


def parse(text: bytes, blobs: BlobStore) -> Graph:
    """The graph of a manifest; arrays are fetched when they are asked for."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CorruptFile(f"a checkpoint's manifest is not JSON: {error}") from error
    if document.get("format") != FORMAT:
        raise StateError(f"a checkpoint of format {document.get('format')}; this logql reads {FORMAT}")
    fetch = _Packs(blobs)
    buffers = [
        Buffer(dtype, nbytes, digest=digest, place=(blob, at), fetch=fetch.reader(blob, at, nbytes))
        for dtype, nbytes, digest, blob, at in document["buffers"]
    ]
    return _from_json(document, buffers)


def hash_buffers(graph: Graph) -> None:
    """Give every array its digest."""
    for buffer in buffers_of(graph):
        digest_of(buffer)


def digest_of(buffer: Buffer) -> str:
    """The digest of an array's bytes, as the store computes it, once."""
    if buffer.digest is None:
        buffer.digest = hashlib.blake2b(buffer.bytes(), digest_size=20).hexdigest()
    return buffer.digest


def buffers_of(graph: Graph) -> Iterator[Buffer]:
    """Every piece of memory that a graph holds, once."""
    seen: set[int] = set()
    for node in graph.nodes:
        for value in node.payload.values():
            content = value.content if type(value) is Packed else value
            if type(content) is Buffer and id(content) not in seen:
                seen.add(id(content))
                yield content


def _write_buffers(buffers: list[Buffer], blobs: BlobStore) -> int:
    """Store what is not stored yet; the number of bytes that this took."""
    stored: dict[str, bool] = {}
    new = [buffer for buffer in buffers if buffer.place is None or not _is_stored(buffer.place[0], blobs, stored)]
    small = [buffer for buffer in new if buffer.nbytes < _PACKED_BELOW]
    for buffer in new:
        if buffer.nbytes >= _PACKED_BELOW:
            buffer.digest = blobs.put(buffer.bytes())
            buffer.place = (buffer.digest, 0)
    if small:
        pack = blobs.put(b"".join(buffer.bytes() for buffer in small))
        start = 0
        for buffer in small:
            digest_of(buffer)
            buffer.place = (pack, start)
            start += buffer.nbytes
    return sum(buffer.nbytes for buffer in new)


def _is_stored(blob: str, blobs: BlobStore, known: dict[str, bool]) -> bool:
    if blob not in known:
        known[blob] = blobs.has(blob)
    return known[blob]


class _Packs:
    """Reads blobs, each once as long as something of it is in use."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._packs: dict[str, memoryview] = {}

    def reader(self, blob: str, at: int, nbytes: int) -> Callable[[], memoryview]:
        """A function that gives `nbytes` of a blob from `at` on."""
        return lambda: self._read(blob, at, nbytes)

    def _read(self, blob: str, at: int, nbytes: int) -> memoryview:
        if nbytes >= _PACKED_BELOW:
            return memoryview(self._blobs.get(blob))
        if blob not in self._packs:
            self._packs[blob] = memoryview(self._blobs.get(blob))
        part = self._packs[blob][at : at + nbytes]
        if len(part) != nbytes:
            raise CorruptFile(f"blob {blob} is shorter than its manifest says")
        return part


def _as_json(graph: Graph, buffers: list[Buffer], numbers: dict[int, int]) -> dict[str, Any]:
    def nodes(group: Iterable[Node]) -> list[Any]:
        return [
            [n.kind, n.parent, n.step, n.anchor, {k: _encode(v, numbers) for k, v in n.payload.items()}] for n in group
        ]

    places = [buffer.place for buffer in buffers if buffer.place is not None]
    return {
        "format": FORMAT,
        "blobs": sorted({blob for blob, _ in places}),
        "buffers": [[b.dtype, b.nbytes, b.digest, *p] for b, p in zip(buffers, places, strict=True)],
        "nodes": nodes(graph.nodes),
        "entry": nodes(graph.entry),
        "roots": [[r.name, r.role, r.module, r.variable, r.use, _encode(r.value, numbers)] for r in graph.roots],
        "anchors": [[number, *place] for number, place in graph.anchors.items()],
        "names": graph.names,
        "left": graph.left,
        "meta": graph.meta,
    }


def _from_json(document: dict[str, Any], buffers: list[Buffer]) -> Graph:
    def nodes(group: list[Any]) -> list[Node]:
        return [
            Node(kind, parent, step, {k: _decode(v, buffers) for k, v in payload.items()}, anchor)
            for kind, parent, step, anchor, payload in group
        ]

    return Graph(
        nodes(document["nodes"]),
        [
            SavedRoot(name, role, module, variable, use, _decode(value, buffers))
            for name, role, module, variable, use, value in document["roots"]
        ],
        {number: (parent, step) for number, parent, step in document["anchors"]},
        document["names"],
        [(module, variable) for module, variable in document["left"]],
        nodes(document["entry"]),
        document["meta"],
    )


def _encode(value: Any, buffers: dict[int, int]) -> Any:
    """JSON of a saved form: plain values and lists as they are, all else as an object with a tag of one letter."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if -_LARGE <= value < _LARGE else {"i": hex(value)}
    if kind is list:
        return value if _PLAIN.issuperset(map(type, value)) else [_encode(item, buffers) for item in value]
    return _encode_tagged(value, kind, buffers)


def _encode_tagged(value: Any, kind: type, buffers: dict[int, int]) -> dict[str, Any]:
    if kind is Ref:
        return {"n": int(value)}
    if kind is Address:
        return {"d": int(value)}
    if kind is Buffer:
        return {"a": buffers[id(value)]}
    if kind is Packed:
        return {"k": [buffers[id(value.content)], _encode(value.classes, buffers), _encode(value.shared, buffers)]}
    if kind is Global:
        return {"g": [value.module, value.name]}
    if kind is bytes:
        return {"b": base64.b64encode(value).decode("ascii")}
    if kind is complex:
        return {"c": [value.real, value.imag]}
    if value is ... or value is NotImplemented:
        return {"e": value is ...}
    inner = value.value if kind is Atom else value
    return {"p": base64.b64encode(pickle.dumps(inner, 4)).decode("ascii")}


def _decode(value: Any, buffers: list[Buffer]) -> Any:
    if type(value) is list:
        return value if _SCALARS.issuperset(map(type, value)) else [_decode(item, buffers) for item in value]
    if type(value) is not dict:
        return value
    ((tag, content),) = value.items()
    if tag == "a":
        return buffers[content]
    if tag == "k":
        return Packed(buffers[content[0]], _decode(content[1], buffers), _decode(content[2], buffers))
    return _DECODERS[tag](content)


_SCALARS = _PLAIN | {int}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "n": Ref,
    "d": Address,
    "i": lambda text: int(text, 16),
    "g": lambda parts: Global(*parts),
    "b": base64.b64decode,
    "c": lambda parts: complex(*parts),
    "e": lambda ellipsis: ... if ellipsis else NotImplemented,
    "p": lambda text: Atom(pickle.loads(base64.b64decode(text))),
}
