"""What a function does without root's right to pass by the permissions of files."""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

VERSION_3 = 0x20080522  # linux/capability.h
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def unprivileged(function: Callable[[], T]) -> T:
    """Return `function()` from a thread that has dropped these rights, which ends with it.

    Linux keeps capabilities for each thread, so the others keep theirs.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            _drop()
            returned.append(function())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return returned[0]


def _drop() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)  # 0: the calling thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 of them
    _succeed(libc.capget(header, sets))
    kept = ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH) & 0xFFFFFFFF
    for place in range(3):
        sets[place] &= kept
    _succeed(libc.capset(header, sets))


def _succeed(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
