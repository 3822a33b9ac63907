"""How the parts of the model are compiled: gradients by hand, loops fused by XLA, blocks computed again.

In: plain functions of tensors. Out: the same functions, with fewer passes over memory or fewer values kept.
Knows nothing of GPT-2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import tensorflow as tf

# Below this many numbers a call of a compiled loop costs as much as the passes that it saves.
FUSED_FROM = 1 << 17

_inference = ContextVar("inference", default=False)


@contextmanager
def inference() -> Iterator[None]:
    """What is traced within has no gradients of ours, and no loop is compiled for its shapes.

    TensorFlow keeps each gradient function that a trace makes for ever, with it the graph, and with it the
    weights that the graph has captured. A model that is served and then unloaded would never be freed.
    """
    before = _inference.set(True)
    try:
        yield
    finally:
        _inference.reset(before)


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """As tf.custom_gradient; within `inference` the values alone."""
    with_gradient: Callable[..., Any] = tf.custom_gradient(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments)[0] if _inference.get() else with_gradient(*arguments)

    return call


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a chain of elementwise operations into one loop with XLA, where that pays.

    TensorFlow's own operations each read and write whole arrays. Matrix products do not belong in here: on
    CPUs oneDNN's are faster than XLA's. Only traces with known shapes are compiled; one compilation serves
    every call with the same shapes.

    Args:
        function: of tensors and hashable constants; has no gradient of its own, so call it within
            `custom_gradient`.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        tensors = [each for each in tf.nest.flatten(arguments) if isinstance(each, tf.Tensor)]
        pays = (
            not tf.executing_eagerly()
            and not _inference.get()
            and all(tensor.shape.is_fully_defined() for tensor in tensors)
            and max(tensor.shape.num_elements() for tensor in tensors) >= FUSED_FROM
        )
        return (compiled if pays else function)(*arguments)

    return call


def recomputed(function: Callable[..., tf.Tensor], x: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """function(x, *weights), keeping nothing but its inputs for the gradient, which computes it once more.

    Args:
        function: the same inputs give the same values on each call; captures nothing that has a gradient.
    """

    @custom_gradient
    def call(x: tf.Tensor, *weights: tf.Tensor) -> Any:
        def gradient(dy: tf.Tensor) -> list[tf.Tensor]:
            # Held back until the gradient has come this far. Otherwise the second computation could be run
            # (or be found equal to the first) at any time before, and its values would be kept all the while.
            with tf.control_dependencies([dy]):
                again = tf.identity(x)
            with tf.GradientTape() as tape:
                tape.watch([again, *weights])
                y = function(again, *weights)
            return tape.gradient(y, [again, *weights], dy)  # type: ignore[no-any-return]

        return function(x, *weights), gradient

    return call(x, *weights)
