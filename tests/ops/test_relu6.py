"""`relu6` at and beyond its upper bound, which normally distributed examples hardly ever reach."""

import numpy as np

from npseg import ops
from npseg.nn import Graph, Node, ReLU6


def test_both_bounds_hold_and_stop_the_gradient():
    x = np.array([-np.inf, -1, 0, 1e-300, 3, np.nextafter(6, 0), 6, 7, np.inf, np.nan])
    grad = np.arange(1.0, 11.0)
    y = ops.relu6(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 1e-300, 3, np.nextafter(6, 0), 6, 6, 6, np.nan])
    np.testing.assert_array_equal(ops.relu6_backward(grad, y), [0, 0, 0, 4, 5, 6, 0, 0, 0, 10])


def test_an_infinite_gradient_is_stopped_too():
    np.testing.assert_array_equal(ops.relu6_backward(np.full(2, np.inf), np.array([0.0, 6.0])), [0, 0])


def test_the_layer_is_the_operation():
    x = 5 * np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    model = Graph([Node("relu", ReLU6(), ("image",))], dtype=np.float64)
    np.testing.assert_array_equal(model(x), np.clip(x, 0, 6))
