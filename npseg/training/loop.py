"""One step of training; `npseg.training.run` repeats it and keeps what must not be lost."""

from typing import Any

import numpy as np

from npseg.models.fcn import backbone_nodes
from npseg.nn.graph import Graph
from npseg.nn.loss import cross_entropy
from npseg.training.batches import Batches
from npseg.training.checkpoints import TrainingState
from npseg.training.settings import Settings

Record = dict[str, Any]
"""What one step leaves in the log: `step`, `loss`, `learning_rate`, after a validation `val`."""


class DivergedError(RuntimeError):
    """The training has left the range of numbers; going on would learn nothing."""


def training_step(state: TrainingState, batches: Batches) -> Record:
    """One update: batch, forward, loss, backward, optimiser.

    Args:
        state: the run so far; its model, optimiser and step change.
        batches: the batch of each step.

    Returns:
        The step's number, counted from 1, the loss before its update, and the learning rate of the update.

    Raises:
        DivergedError: the loss or the updated parameters are not finite; the state must not be saved.
    """
    settings, model = state.settings, state.model
    learning_rate = settings.learning_rate_at(state.step)
    class_weight = None if settings.class_weights is None else np.array(settings.class_weights, np.float32)
    images, labels = batches.batch(state.step)

    logits, saved = model.forward(images, training=True, rng=batches.dropout(state.step))
    loss, grad_logits = cross_entropy(
        logits, labels, ignore_index=state.task.ignore_index, class_weight=class_weight, reduction=settings.loss
    )
    state.step += 1
    if not np.isfinite(loss):
        raise DivergedError(f"step {state.step}: the loss is {loss}; try a lower learning rate")
    gradients = model.backward(grad_logits, saved)
    scales = rate_scales(model, settings)
    for name in state.optimiser.update(model.parameters, gradients, learning_rate, scales):
        raise DivergedError(f"step {state.step}: {name} is no longer finite; try a lower learning rate")
    return {"step": state.step, "loss": float(loss), "learning_rate": learning_rate}


def rate_scales(model: Graph, settings: Settings) -> dict[str, float]:
    """By which factor the learning rate of each parameter differs: the backbone's have their own.

    Raises:
        ValueError: the settings speak of a backbone, and the network is no FCN.
    """
    if settings.backbone_rate == 1:
        return {}
    nodes = backbone_nodes(model)
    return {f"{n.name}.{key}": settings.backbone_rate for n in nodes for key in n.layer.parameter_specs()}
