"""Which sequence holds which blocks of the cache, and which blocks begin with the same ids and are held by many.

A block holds `block_size` positions. Once all of them are computed, the block is registered under the ids of
its whole prefix: a later sequence that begins with the same ids takes it instead of computing it. A block that
nobody holds keeps its content until it is needed for something else, the one unused longest first.

Prefixes are told apart by the ids themselves, never by a hash alone: a block's key is its own ids and the
number of the prefix before it, and numbers are given once. Knows no tensors and no model. One thread at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

_NOTHING = 0  # the prefix of no ids

Key = tuple[int, tuple[int, ...]]  # the prefix before a block, and the block's ids


@dataclass(slots=True, eq=False)
class Holding:
    """The blocks of one sequence.

    Attributes:
        blocks: in order of position.
        prefixes: for each block that is computed whole, the number of the prefix that ends with it.
    """

    blocks: list[int] = field(default_factory=list)
    prefixes: list[int] = field(default_factory=list)


class BlockPool:
    """The blocks of one engine.

    Args:
        num_blocks: numbered from 0.
        block_size: positions in a block.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._holders = [0] * num_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))  # the next to be used first
        self._keys: list[Key | None] = [None] * num_blocks
        self._prefixes = [_NOTHING] * num_blocks  # the number that a registered block's key was given
        self._registered: dict[Key, int] = {}
        self._last_prefix = _NOTHING

    @property
    def num_held(self) -> int:
        """Blocks that some sequence holds."""
        return self.num_blocks - len(self._free)

    @property
    def num_kept(self) -> int:
        """Blocks that nobody holds, with content that may be taken again."""
        return sum(self._keys[block] is not None for block in self._free)

    def next_key(self, holding: Holding, ids: Sequence[int], limit: int) -> Key | None:
        """The key of the block after the whole ones; None when it would reach past `limit` positions."""
        start = len(holding.prefixes) * self.block_size
        end = start + self.block_size
        if end > limit:
            return None
        return (holding.prefixes[-1] if holding.prefixes else _NOTHING, tuple(ids[start:end]))

    def share(self, holding: Holding, ids: Sequence[int], limit: int) -> int:
        """Take registered blocks that go on as `ids` do, within `limit` positions; return the positions gained.

        Nothing is taken while the last block is computed in part.
        """
        before = len(holding.blocks)
        while len(holding.blocks) == len(holding.prefixes):
            key = self.next_key(holding, ids, limit)
            block = None if key is None else self._registered.get(key)
            if block is None:
                break
            self._hold(block)
            holding.blocks.append(block)
            holding.prefixes.append(self._prefixes[block])
        return (len(holding.blocks) - before) * self.block_size

    def cover(self, holding: Holding, end: int) -> None:
        """Add blocks until they hold `end` positions; there must be enough of them."""
        while len(holding.blocks) * self.block_size < end:
            block = next(iter(self._free))
            self._forget(block)
            self._hold(block)
            holding.blocks.append(block)

    def settle(self, holding: Holding, ids: Sequence[int], num_computed: int) -> None:
        """Register the blocks that are now computed whole, for others to take."""
        while (key := self.next_key(holding, ids, num_computed)) is not None:
            block = holding.blocks[len(holding.prefixes)]
            known = self._registered.get(key)
            if known is None:
                self._last_prefix += 1
                self._registered[key] = block
                self._keys[block] = key
                self._prefixes[block] = self._last_prefix
                known = block
            holding.prefixes.append(self._prefixes[known])

    def cut(self, holding: Holding, num_kept: int) -> int:
        """Let go of what lies after the first `num_kept` positions; return how many of them still stand.

        A registered block is never written to, so of one that would be kept in part nothing stands.
        """
        whole, part = divmod(num_kept, self.block_size)
        if part and whole < len(holding.blocks) and self._keys[holding.blocks[whole]] is None:
            self._release(holding, whole + 1)
        else:
            part = 0
            self._release(holding, whole)
        del holding.prefixes[whole:]
        return whole * self.block_size + part

    def release(self, holding: Holding) -> None:
        """Let go of everything; whole blocks keep their content."""
        self.cut(holding, 0)

    def _release(self, holding: Holding, num_blocks: int) -> None:
        # The last block first, so that of a prefix the end is lost before what leads to it.
        for block in reversed(holding.blocks[num_blocks:]):
            self._holders[block] -= 1
            if self._holders[block] == 0:
                self._free[block] = None
                if self._keys[block] is None:
                    self._free.move_to_end(block, last=False)
        del holding.blocks[num_blocks:]

    def _hold(self, block: int) -> None:
        self._free.pop(block, None)
        self._holders[block] += 1

    def _forget(self, block: int) -> None:
        key = self._keys[block]
        if key is not None:
            del self._registered[key]
            self._keys[block] = None
