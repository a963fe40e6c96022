"""Computational cost of a network: multiply-accumulates and time per clip."""

import time

import numpy as np

from utils.base.devices import jit_compile
from utils.runs.cost import Cost, cost_of_weights

CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
PRODUCTS = {"MatMul": "transpose_a", "BatchMatMulV2": "adj_x"}  # with the attribute that transposes the first matrix


def cost_of_model(model) -> Cost:
    """Return the cost of a Keras model."""
    return cost_of_weights(model.count_params(), multiply_accumulates(model))


def multiply_accumulates(model) -> int:
    """Return the multiply-accumulates per clip of a Keras model's convolutions and matrix products.

    They are counted in the graph of TensorFlow for one clip. Layers that are applied to each
    frame count once per frame. A convolution has kernel volume x input channels per output value (a depthwise
    convolution only the kernel volume), and a product of m x k and k x n matrices has m k n. Biases, activations,
    poolings and other operations are not counted, as is usual, nor are the steps of recurrent layers.
    """
    import tensorflow as tf

    spec = tf.TensorSpec((1, *model.input_shape[1:]))
    graph = tf.function(lambda clip: model(clip, training=False)).get_concrete_function(spec).graph
    return sum(operation_cost(operation) for operation in graph.get_operations())


def operation_cost(operation) -> int:
    """Return the multiply-accumulates of an operation of a TensorFlow graph with static shapes."""
    kind = operation.type
    if kind not in (*CONVOLUTIONS, *PRODUCTS, "Einsum"):
        return 0
    first, second = (tuple(value.shape) for value in operation.inputs)
    values = int(np.prod(operation.outputs[0].shape))
    if kind in CONVOLUTIONS:
        kernel = second[:-2] if kind == "DepthwiseConv2dNative" else second[:-1]
        return values * int(np.prod(kernel))
    if kind in PRODUCTS:
        return values * first[-2 if operation.get_attr(PRODUCTS[kind]) else -1]
    terms, result = operation.get_attr("equation").decode().split("->")
    sizes = {}
    for term, shape in zip(terms.split(","), (first, second)):
        labels = term.replace("...", "")
        sizes |= zip(labels, shape[-len(labels) :] if term.startswith("...") else shape)
    return values * int(np.prod([size for label, size in sizes.items() if label not in result]))


def milliseconds_per_clip(model, *, runs: int = 15) -> float:
    """Return the median inference time in ms for one clip in memory, after two warm-up runs."""
    clip = np.zeros((1, *model.input_shape[1:]), np.float32)
    if hasattr(model, "jit_compile"):  # Keras; exported networks have no such setting
        model.jit_compile = jit_compile()
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        model.predict_on_batch(clip)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[2:]))
