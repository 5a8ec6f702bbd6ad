"""Which of the GPUs that a program sees it computes on."""

from __future__ import annotations

from typing import Any


def is_used(torch: Any, device: int) -> bool:
    """Whether memory of a GPU was ever asked for."""
    try:
        return bool(torch.cuda.memory_stats(device).get("allocated_bytes.all.allocated", 0))
    except RuntimeError:  # an allocator that does not count
        return True
