"""The cache's arrays."""

from __future__ import annotations

import errno
import mmap

import pytest

from services.litert.cache import block_bytes, new_cache


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_a_block_takes_the_bytes_that_are_told(config, precision):
    assert sum(array.nbytes for array in new_cache(config, 5, precision)) == 5 * block_bytes(config, precision)


def test_a_kernel_without_large_pages_gives_usual_ones(config, monkeypatch):
    refused = []

    class Refusing(mmap.mmap):
        def madvise(self, *arguments: int) -> None:
            refused.append(arguments)
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Refusing)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 14, raising=False)
    cache = new_cache(config, 2, "int8")
    assert refused
    cache.keys[:] = 1
    assert cache.keys.all() and not cache.values.any()
