"""Rounding to int8 with a scale per row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from services.litert.quantise import quantise_rows

numbers = st.floats(-1e6, 1e6, width=32).filter(lambda x: x == 0 or abs(x) > 1e-20)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=numbers))
def test_each_number_comes_back_within_half_a_scale(matrix):
    values, scales = quantise_rows(matrix)
    error = np.abs(values * scales[:, None].astype(np.float64) - matrix)
    assert (error <= 0.5001 * scales[:, None]).all()
    largest = np.abs(matrix).max(axis=1)
    assert (np.abs(values.astype(int)).max(axis=1)[largest > 0] == 127).all()


def test_a_row_of_zeros_stays_one():
    values, scales = quantise_rows(np.zeros((2, 3), np.float32))
    assert not values.any()
    assert scales.tolist() == [1, 1]


def test_weights_are_rounded_as_tensorflow_s_converter_rounds_them():
    import tensorflow as tf
    from ai_edge_litert import schema_py_generated as schema

    matrix = np.random.default_rng(0).standard_normal((96, 64)).astype(np.float32)  # [F, C]

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32)])
    def product(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, tf.constant(matrix.T))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([product.get_concrete_function()], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    model = schema.ModelT.InitFromPackedBuf(converter.convert(), 0)
    (weights,) = [t for t in model.subgraphs[0].tensors if t.type == schema.TensorType.INT8]
    values, scales = quantise_rows(matrix)
    assert np.allclose(weights.quantization.scale, scales, rtol=1e-6)
    theirs = np.frombuffer(bytes(model.buffers[weights.buffer].data), np.int8).reshape(matrix.shape)
    assert (theirs == values).mean() > 0.999
    assert np.abs(theirs.astype(int) - values).max() <= 1
