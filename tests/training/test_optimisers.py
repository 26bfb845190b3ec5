import numpy as np
import pytest

import npseg
from npseg.training.optimisers import SGD, Adam, restore

SHAPES = {"conv.weight": (3, 2, 3, 1), "conv.bias": (3,), "score.weight": (4, 3), "score.bias": (4,)}


def draw(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


def run(optimiser, parameters, steps, first=0):
    for step in range(first, first + steps):
        optimiser.update(parameters, draw(100 + step), 0.1 / (step + 1))
    return parameters


OPTIMISERS = [
    lambda: SGD(momentum=0.9, weight_decay=0.01),
    lambda: SGD(momentum=0.0, weight_decay=0.0),
    lambda: Adam(),
    lambda: Adam(beta1=0.5, beta2=0.9, weight_decay=0.1),
]


@pytest.mark.parametrize("make", OPTIMISERS)
def test_update_is_in_place_and_keeps_float32(make):
    parameters = draw(0)
    before = dict(parameters)
    optimiser = make()
    run(optimiser, parameters, 3)
    for name, shape in SHAPES.items():
        assert parameters[name] is before[name]
        assert parameters[name].dtype == np.float32
        assert not np.array_equal(parameters[name], draw(0)[name])
        moments = [array for key, array in optimiser.state.items() if key.endswith("/" + name)]
        assert moments
        assert all(moment.dtype == np.float32 and moment.shape == shape for moment in moments)


@pytest.mark.parametrize("make", OPTIMISERS)
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_a_large_parameter_moves_as_many_small_ones(make, layout):
    """In NumPy it is updated piece by piece; what is not finite is found in any piece."""
    rng = np.random.default_rng(0)
    whole, gradient = (layout(rng.standard_normal((7, 40_000)).astype(np.float32)) for _ in range(2))
    gradient[1, 2] = np.nan
    rows = {f"row {i}.weight": whole[i].copy() for i in range(len(whole))}
    with npseg.use_engine("im2col"):
        assert make().update({"all.weight": whole}, {"all.weight": gradient}, 0.1) == ["all.weight"]
        gradients = {f"row {i}.weight": gradient[i] for i in range(len(gradient))}
        assert make().update(rows, gradients, 0.1) == ["row 1.weight"]
    np.testing.assert_array_equal(whole, np.stack(list(rows.values())))


@pytest.mark.parametrize("make", OPTIMISERS)
def test_gradients_are_not_modified_and_parameters_without_one_stay(make):
    parameters, gradients = draw(0), draw(1)
    del gradients["score.weight"]
    for gradient in gradients.values():
        gradient.setflags(write=False)
    make().update(parameters, gradients, 0.1)
    assert np.array_equal(parameters["score.weight"], draw(0)["score.weight"])
    assert not np.array_equal(parameters["conv.weight"], draw(0)["conv.weight"])


@pytest.mark.parametrize("make", OPTIMISERS)
def test_a_scale_is_a_rate_of_its_own(make):
    scaled, fast, slow = draw(0), draw(0), draw(0)
    optimisers = make(), make(), make()
    for step in (1, 2):
        optimisers[0].update(scaled, draw(step), 0.125, {"conv.weight": 0.5})
        optimisers[1].update(fast, draw(step), 0.125)
        optimisers[2].update(slow, draw(step), 0.0625)
    for name, value in scaled.items():
        assert np.array_equal(value, (slow if name == "conv.weight" else fast)[name])


@pytest.mark.parametrize("make", OPTIMISERS)
def test_a_restored_optimiser_goes_on_bit_for_bit(make):
    expected = run(make(), draw(0), 7)

    first = make()
    parameters = run(first, draw(0), 3)
    second = make()
    restore(second, {name: array.copy() for name, array in first.state.items()}, parameters)
    run(second, parameters, 4, first=3)
    for name in SHAPES:
        assert np.array_equal(parameters[name], expected[name])


def test_sgd_follows_caffe_rule_by_hand():
    parameters = {"fc.weight": np.array([2.0], np.float32), "fc.bias": np.array([2.0], np.float32)}
    optimiser = SGD(momentum=0.5, weight_decay=0.25)
    optimiser.update(parameters, {name: np.array([1.0], np.float32) for name in parameters}, 0.125)
    # weight: v = -0.125 * (1 + 0.25 * 2) = -0.1875; bias: v = -2 * 0.125 * 1, no decay
    assert parameters["fc.weight"][0] == 2 - 0.1875
    assert parameters["fc.bias"][0] == 2 - 0.25
    optimiser.update(parameters, {name: np.array([0.0], np.float32) for name in parameters}, 0.0)
    # at rate 0 only the momentum moves: half of the former step, made at the former rate
    assert parameters["fc.weight"][0] == 2 - 0.1875 - 0.09375
    assert parameters["fc.bias"][0] == 2 - 0.25 - 0.125


def test_sgd_equals_pytorch_at_a_constant_rate():
    torch = pytest.importorskip("torch")
    parameters = draw(0, np.float64)
    theirs = {name: torch.tensor(array) for name, array in parameters.items()}
    groups = [
        {"params": [theirs["conv.weight"], theirs["score.weight"]], "lr": 0.05, "weight_decay": 0.01},
        {"params": [theirs["conv.bias"], theirs["score.bias"]], "lr": 0.1, "weight_decay": 0.0},
    ]
    reference, ours = torch.optim.SGD(groups, lr=0.05, momentum=0.9), SGD(momentum=0.9, weight_decay=0.01)
    for step in range(5):
        gradients = draw(step, np.float64)
        for name, tensor in theirs.items():
            tensor.grad = torch.tensor(gradients[name])
        reference.step()
        ours.update(parameters, gradients, 0.05)
    for name, tensor in theirs.items():
        np.testing.assert_allclose(parameters[name], tensor.numpy(), rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_equals_pytorch(decay):
    torch = pytest.importorskip("torch")
    parameters = draw(0, np.float64)
    theirs = {name: torch.tensor(array) for name, array in parameters.items()}
    groups = [
        {"params": [theirs["conv.weight"], theirs["score.weight"]], "weight_decay": decay},
        {"params": [theirs["conv.bias"], theirs["score.bias"]], "weight_decay": 0.0},
    ]
    reference, ours = torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-6), Adam(0.8, 0.95, 1e-6, decay)
    for step in range(6):
        rate = 0.01 / (1 + step)
        gradients = draw(step, np.float64)
        for group in reference.param_groups:
            group["lr"] = rate
        for name, tensor in theirs.items():
            tensor.grad = torch.tensor(gradients[name])
        reference.step()
        ours.update(parameters, gradients, rate)
    for name, tensor in theirs.items():
        np.testing.assert_allclose(parameters[name], tensor.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("gradients", "error", "message"),
    [
        ({"conv": np.zeros(3, np.float32)}, ValueError, "gradients has conv, which is no parameter"),
        ({"conv.bias": np.zeros(4, np.float32)}, ValueError, "gradient of conv.bias must have shape"),
        ({"conv.bias": np.zeros(3)}, TypeError, "gradient float64"),
    ],
)
@pytest.mark.parametrize("make", OPTIMISERS)
def test_a_gradient_that_does_not_fit_is_refused(make, gradients, error, message):
    with pytest.raises(error, match=message):
        make().update(draw(0), gradients, 0.1)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SGD(momentum=1.0), "momentum"),
        (lambda: SGD(weight_decay=-1.0), "weight_decay"),
        (lambda: Adam(beta1=1.0), "beta1"),
        (lambda: Adam(beta2=-0.1), "beta2"),
        (lambda: Adam(epsilon=0.0), "epsilon"),
        (lambda: Adam(weight_decay=np.inf), "weight_decay"),
    ],
)
def test_arguments_outside_their_range_are_refused(make, name):
    with pytest.raises(ValueError, match=name):
        make()


@pytest.mark.parametrize(
    "state",
    [
        {"velocity/fc.weight": np.zeros(3, np.float32)},
        {"velocity/conv.bias": np.zeros(4, np.float32)},
        {"velocity/conv.bias": np.zeros(3)},
        {"updates": np.zeros((), np.int64)},
    ],
)
def test_a_state_of_another_network_or_optimiser_is_refused(state):
    with pytest.raises(ValueError, match="does not fit the network"):
        restore(SGD(), state, draw(0))
