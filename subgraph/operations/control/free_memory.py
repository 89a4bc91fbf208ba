"""Owns giving memory back to the system that a large plan needed for a moment, and that the heap would keep."""

import ctypes

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of glibc; other C libraries have none."""


def give_back_free_memory() -> None:
    """Return the heap's free pages. It takes some milliseconds, in which other threads go on."""
    if _malloc_trim is not None:
        _malloc_trim(0)
