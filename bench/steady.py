"""The environment in which processes take the same time again and again."""

from __future__ import annotations

import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: One thread; and glibc's allocator the same from the first epoch on (by itself it adapts to what was freed).
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "100000000",
    "MALLOC_TRIM_THRESHOLD_": "100000000",
    "PYTHONPATH": ROOT,
}
