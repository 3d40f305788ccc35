"""How a stage keeps memory: what is freed stays with the process, for the next step to use.

glibc returns large blocks to the system as they are freed, and the next step pays a page fault for every 4 KiB of the
same blocks: 15 to 20 % of a training step on the CPU (`benchmarks/NOTES.md`).
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
LARGEST = 32 * 2**20  # bytes; glibc refuses a higher M_MMAP_THRESHOLD


def keep_freed() -> bool:
    """Ask glibc to keep freed blocks of up to 32 MiB; False where the allocator is another one."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(TRIM_THRESHOLD, 2**31 - 1) and mallopt(MMAP_THRESHOLD, LARGEST))
