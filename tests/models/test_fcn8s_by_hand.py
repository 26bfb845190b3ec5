"""FCN-8s' backward pass written by hand, line by line, from the operations alone; the graph must find the same."""

import numpy as np

from npseg import ops
from npseg.models import fcn, vgg
from npseg.nn import cross_entropy


def test_the_graph_walks_back_as_one_would_by_hand() -> None:
    rng = np.random.default_rng(0)
    model = fcn(vgg((2, 3, 4, 5, 6), (1, 1, 1, 1, 1), 7, dtype=np.float64), 3, 8)
    p = model.parameters
    for value in p.values():
        value += 0.1 * rng.standard_normal(value.shape)
    x = rng.standard_normal((2, 3, 45, 70))
    labels = rng.integers(0, 3, (2, 45, 70))

    # Forward: five stages, each keeping what its way back needs.
    kept, pooled = {}, x
    for stage in "12345":
        before = pooled
        active = ops.relu(ops.conv2d(before, p[f"conv{stage}_1.weight"], p[f"conv{stage}_1.bias"], padding=1))
        pooled, indices = ops.max_pool2d(active, 2, ceil_mode=True)
        kept[stage] = before, active, pooled, indices
    pool3, pool4, pool5 = (kept[stage][2] for stage in "345")
    fc6 = ops.relu(ops.conv2d(pool5, p["fc6.weight"], p["fc6.bias"], padding=3))
    fc7 = ops.relu(ops.conv2d(fc6, p["fc7.weight"], p["fc7.bias"]))
    score_fr = ops.conv2d(fc7, p["score_fr.weight"], p["score_fr.bias"])
    upscore2 = ops.conv_transpose2d(score_fr, p["upscore2.weight"], stride=2, padding=1)
    score_pool4 = ops.conv2d(pool4, p["score_pool4.weight"], p["score_pool4.bias"])
    fuse_pool4 = ops.crop2d(upscore2, score_pool4.shape[2:], 0) + score_pool4
    upscore_pool4 = ops.conv_transpose2d(fuse_pool4, p["upscore_pool4.weight"], stride=2, padding=1)
    score_pool3 = ops.conv2d(pool3, p["score_pool3.weight"], p["score_pool3.bias"])
    fuse_pool3 = ops.crop2d(upscore_pool4, score_pool3.shape[2:], 0) + score_pool3
    upscore8 = ops.conv_transpose2d(fuse_pool3, p["upscore8.weight"], stride=8, padding=4)
    logits = ops.crop2d(upscore8, (45, 70), 0)

    # Backward: every line undoes one line above, last first.
    g = {}
    grad = ops.cross_entropy2d_backward(logits, labels)
    grad = ops.crop2d_backward(grad, upscore8.shape[2:], 0)
    grad, g["upscore8.weight"], _ = ops.conv_transpose2d_backward(
        grad, fuse_pool3, p["upscore8.weight"], stride=8, padding=4
    )
    grad_pool3, g["score_pool3.weight"], g["score_pool3.bias"] = ops.conv2d_backward(
        grad, pool3, p["score_pool3.weight"]
    )
    grad = ops.crop2d_backward(grad, upscore_pool4.shape[2:], 0)
    grad, g["upscore_pool4.weight"], _ = ops.conv_transpose2d_backward(
        grad, fuse_pool4, p["upscore_pool4.weight"], stride=2, padding=1
    )
    grad_pool4, g["score_pool4.weight"], g["score_pool4.bias"] = ops.conv2d_backward(
        grad, pool4, p["score_pool4.weight"]
    )
    grad = ops.crop2d_backward(grad, upscore2.shape[2:], 0)
    grad, g["upscore2.weight"], _ = ops.conv_transpose2d_backward(
        grad, score_fr, p["upscore2.weight"], stride=2, padding=1
    )
    grad, g["score_fr.weight"], g["score_fr.bias"] = ops.conv2d_backward(grad, fc7, p["score_fr.weight"])
    grad = ops.relu_backward(grad, fc7)
    grad, g["fc7.weight"], g["fc7.bias"] = ops.conv2d_backward(grad, fc6, p["fc7.weight"])
    grad = ops.relu_backward(grad, fc6)
    grad, g["fc6.weight"], g["fc6.bias"] = ops.conv2d_backward(grad, pool5, p["fc6.weight"], padding=3)
    skips = {"3": grad_pool3, "4": grad_pool4}
    for stage in "54321":
        before, active, _, indices = kept[stage]
        if stage in skips:
            grad = grad + skips[stage]  # pool3 and pool4 branch: what comes from above and from the skip adds up
        grad = ops.max_pool2d_backward(grad, indices, active.shape[2:])
        grad = ops.relu_backward(grad, active)
        grad, g[f"conv{stage}_1.weight"], g[f"conv{stage}_1.bias"] = ops.conv2d_backward(
            grad, before, p[f"conv{stage}_1.weight"], padding=1
        )

    graph_logits, saved = model.forward(x)
    _, grad_logits = cross_entropy(graph_logits, labels)
    gradients = model.backward(grad_logits, saved)
    np.testing.assert_array_equal(graph_logits, logits)
    assert set(gradients) == set(g)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, g[name], rtol=1e-12, atol=1e-14, err_msg=name)
