"""The cost of a PyTorch network, for the .json next to its scores; utils/networks/cost.py counts Keras networks."""

from collections.abc import Callable, Iterable

from utils.runs.cost import Cost, cost_of_weights


def torch_cost(forward: Callable, example, weights: Iterable) -> Cost:
    """Return the cost of `forward`, which runs a network with these `weights` on `example`, a tensor with one clip.

    PyTorch counts the floating-point operations of convolutions and matrix products, two per multiply-accumulate. The
    weights are the tensors of parameters and buffers; those of integers are not counted.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward(example)
    parameters = sum(tensor.numel() for tensor in weights if tensor.is_floating_point())
    return cost_of_weights(parameters, counter.get_total_flops() // 2)


def linear_cost(inputs: int, outputs: int) -> Cost:
    """Return the cost of a linear classifier with biases."""
    return cost_of_weights((inputs + 1) * outputs, inputs * outputs)
