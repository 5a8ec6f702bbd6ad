"""Numbers that are the address of an object (`id`): in another process it lies elsewhere.

Libraries keep them to know an object again: keras in its trackers, torch.compile in what it wraps.
"""

from __future__ import annotations

from logql.state.graph import Address, Graph

#: The parts of a payload that hold the program's own values.
_HELD = ("items", "keys", "values", "held")
#: Numbers up to this one are taken for numbers.
_LOWEST = 1 << 32


def name_addresses(graph: Graph, addresses: list[int]) -> None:
    """Replace the numbers in the lists of a graph that are `addresses` of its nodes, in the nodes' order."""
    numbers = {address: number for number, address in enumerate(addresses) if address > _LOWEST}
    for node in graph.nodes:
        for part in _HELD:
            values = node.payload.get(part)
            if type(values) is list and not numbers.keys().isdisjoint(values):
                values[:] = [Address(numbers[v]) if type(v) is int and v in numbers else v for v in values]
