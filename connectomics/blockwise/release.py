"""Memory that was freed goes back to the system: the C library alone would keep most of it for itself."""

import ctypes
import gc
from contextlib import suppress


def release_memory() -> None:
    """Collect what is unreachable, and give it back."""
    gc.collect()
    give_back()


def give_back() -> None:
    """Give freed memory back; only glibc needs to be told."""
    with suppress(OSError, AttributeError):  # other systems have no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
