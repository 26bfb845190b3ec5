"""One step of training; `npseg.training.run` repeats it and keeps what must not be lost."""

from typing import Any

import numpy as np

from npseg.checks import Array
from npseg.models.fcn import backbone_nodes
from npseg.nn.graph import Graph
from npseg.nn.loss import cross_entropy
from npseg.training import divergence
from npseg.training.batches import Batches
from npseg.training.checkpoints import TrainingState
from npseg.training.divergence import DivergedError
from npseg.training.ranks import Ranks
from npseg.training.settings import Settings

Record = dict[str, Any]
"""What one step leaves in the log: `step`, `loss`, `learning_rate`, after a validation `val`."""


def training_step(state: TrainingState, batches: Batches, ranks: Ranks | None = None) -> Record:
    """One update: batch, forward, loss, backward, optimiser.

    Args:
        state: the run so far; its model, optimiser and step change.
        batches: the batch of each step, or this rank's part of it.
        ranks: the processes that make this step together; None is this one by itself.

    Returns:
        The step's number, counted from 1, the loss before its update, and the learning rate of the update.

    Raises:
        DivergedError: the loss, a running statistic or an updated parameter is not finite; the state must not be saved.
            The message names the step, the first layer where this shows, and a likely cause.
    """
    settings, model, ranks = state.settings, state.model, ranks or Ranks()
    learning_rate = settings.learning_rate_at(state.step)
    class_weight = None if settings.class_weights is None else np.array(settings.class_weights, model.dtype)
    images, labels = batches.batch(state.step)

    logits, saved = model.forward(images, training=True, rng=batches.dropout(state.step))
    loss, grad_logits = cross_entropy(
        logits, labels, ignore_index=state.task.ignore_index, class_weight=class_weight, reduction=settings.loss
    )
    if not ranks.alone:
        loss = _joined(loss, grad_logits, _share(labels, state, class_weight, ranks), ranks)
    state.step += 1
    if not np.isfinite(loss):
        finding = divergence.in_forward_pass(model, images, batches.dropout(state.step - 1), settings)
        raise DivergedError(f"step {state.step}: the loss is {loss}: {finding}")
    if statistic := divergence.broken_statistic(model):
        raise DivergedError(f"step {state.step}: {divergence.in_statistics(model, statistic, settings)}")
    ranks.average(model.buffers)
    gradients = ranks.summed(model.backward(grad_logits, saved))
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


def _share(labels: Array, state: TrainingState, class_weight: Array | None, ranks: Ranks) -> float:
    """By what this rank's loss is multiplied before the ranks' are added up.

    A mean is divided by the weight of this rank's labelled pixels, and has to be divided by that of all ranks' pixels.
    """
    if state.settings.loss == "sum":
        return 1.0
    counted = labels[labels != state.task.ignore_index]
    weight = float(counted.size if class_weight is None else class_weight[counted].sum(dtype=np.float64))
    total = float(ranks.total(weight))
    return weight / total if total else 0.0


def _joined(loss: Any, grad_logits: Array, share: float, ranks: Ranks) -> Any:
    """The whole batch's loss; the gradient of this rank's pixels becomes, in place, that of the whole batch's loss."""
    grad_logits *= grad_logits.dtype.type(share)
    return loss.dtype.type(ranks.total(float(loss) * share))
