"""The devices that train together, each with the same weights and its share of a step's rows.

TensorFlow's MirroredStrategy where there are several; on one device everything here does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import tensorflow as tf

from services.common.errors import FailedPrecondition


def choose(gpus: int, batch_size: int) -> list[str]:
    """Return the GPUs to train on: as many as are wanted and as divide a micro-batch evenly; none without a GPU.

    Args:
        gpus: so many; 0 means all there are.
        batch_size: rows of a micro-batch.

    Raises:
        FailedPrecondition: more are asked for than there are, or the rows do not divide among those asked for.
    """
    found = len(tf.config.list_physical_devices("GPU"))
    if gpus > found:
        raise FailedPrecondition(
            f"gpus is {gpus}, and TensorFlow sees {found} here; ask for at most that many, or leave it out",
            reason="TOO_FEW_GPUS",
        )
    if gpus and batch_size % gpus:
        raise FailedPrecondition(
            f"a batch_size of {batch_size} does not divide among {gpus} GPUs; make it a multiple",
            reason="ROWS_DO_NOT_DIVIDE",
        )
    count = gpus or max((n for n in range(1, found + 1) if batch_size % n == 0), default=0)
    return [f"GPU:{i}" for i in range(count)]


@lru_cache(maxsize=1)
def _strategy(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One for a process: a second one over the same devices would count its exchanges from the same number."""
    return tf.distribute.MirroredStrategy(list(devices))


class Replicas:
    """Several devices as one.

    Args:
        devices: their names, as TensorFlow has them; with fewer than two, TensorFlow chooses the device.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._strategy = _strategy(tuple(devices)) if len(devices) > 1 else None
        self.count = max(1, len(devices))

    def scope(self) -> AbstractContextManager[Any]:
        """Variables that are made within have a copy on each device."""
        return nullcontext() if self._strategy is None else self._strategy.scope()

    def deal(self, shares: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Make one argument of `run` out of a tuple of tensors for each device; outside of compiled functions."""
        if self._strategy is None:
            return shares[0]
        dealt = [
            None
            if part[0] is None
            else self._strategy.experimental_distribute_values_from_function(
                lambda context, part=part: part[context.replica_id_in_sync_group]
            )
            for part in zip(*shares, strict=True)
        ]
        return tuple(dealt)

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Call a function on each device with its part of `arguments`; return what the first device found."""
        if self._strategy is None:
            return function(*arguments)
        found = self._strategy.run(function, arguments)
        return tf.nest.map_structure(lambda value: self._strategy.experimental_local_results(value)[0], found)

    def sum(self, values: Any) -> Any:
        """The sum of a structure of tensors over the devices, in float32; for use within `run`."""
        if self._strategy is None:
            return values
        values = tf.nest.map_structure(lambda value: tf.cast(value, tf.float32), values)
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    def first(self, variable: Any) -> tf.Variable:
        """A variable as it is on the first device."""
        return variable if self._strategy is None else variable.values[0]
