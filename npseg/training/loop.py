"""One step of training; `npseg.training.run` repeats it and keeps what must not be lost."""

from typing import Any

import numpy as np

from npseg.models.fcn import backbone_nodes
from npseg.nn.graph import Graph
from npseg.nn.loss import cross_entropy
from npseg.training import divergence
from npseg.training.batches import Batches
from npseg.training.checkpoints import TrainingState
from npseg.training.divergence import DivergedError
from npseg.training.settings import Settings

Record = dict[str, Any]
"""What one step leaves in the log: `step`, `loss`, `learning_rate`, after a validation `val`."""


def training_step(state: TrainingState, batches: Batches) -> Record:
    """One update: batch, forward, loss, backward, optimiser.

    Args:
        state: the run so far; its model, optimiser and step change.
        batches: the batch of each step.

    Returns:
        The step's number, counted from 1, the loss before its update, and the learning rate of the update.

    Raises:
        DivergedError: the loss, a running statistic or an updated parameter is not finite; the state must not be saved.
            The message names the step, the first layer where this shows, and a likely cause.
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
        finding = divergence.in_forward_pass(model, images, batches.dropout(state.step - 1), settings)
        raise DivergedError(f"step {state.step}: the loss is {loss}: {finding}")
    if statistic := divergence.broken_statistic(model):
        raise DivergedError(f"step {state.step}: {divergence.in_statistics(model, statistic, settings)}")
    gradients = model.backward(grad_logits, saved)
    scales = rate_scales(model, settings)
    if diverged := state.optimiser.update(model.parameters, gradients, learning_rate, scales):
        finding = divergence.in_gradients(model, gradients, diverged, settings, learning_rate)
        raise DivergedError(f"step {state.step}: {finding}")
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


def check_usable(state: TrainingState, batches: Batches) -> None:
    """Refuse a network that an update has blown up although each of its parameters is still a number.

    The next step would find out, but a checkpoint of it would have taken the place of a good one by then.

    Args:
        state: the run after an update.
        batches: the batch of each step; the network is tried on the last one.

    Raises:
        DivergedError: its logits are not finite; the state must not be saved.
    """
    images, _ = batches.batch(state.step - 1)
    if not np.isfinite(state.model(images)).all():
        finding = divergence.in_forward_pass(state.model, images, None, state.settings)
        raise DivergedError(f"step {state.step}: the updated network's logits are not finite: {finding}")
