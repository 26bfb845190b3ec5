"""How a network is trained: everything a run can be told except its data and its network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from npseg import checks, engine_info, use_engine
from npseg.data import RandomScale
from npseg.engines import choose
from npseg.training import schedules
from npseg.training.optimisers import SGD, Adam, Optimiser

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("polynomial", "step", "constant")
LOSSES = ("mean", "sum")
WINOGRAD = ("off", "f2", "f4")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a run. The names are those of the command's flags and of `config.json`.

    Attributes:
        steps: updates in all.
        batch_size: samples per step.
        seed: of order, augmentation and dropout.
        optimizer: "adam" or "sgd".
        learning_rate: at the start; the schedule lowers it.
        backbone_rate: the backbone's learning rate as a share of the decoder's; below 1 where its weights come from
            elsewhere, 0 to leave them alone.
        momentum: of "sgd".
        weight_decay: pull of the weights towards zero; biases do not decay.
        schedule: "polynomial", "step" or "constant".
        power: of the polynomial schedule.
        decay_every: steps between two falls of the step schedule.
        decay_factor: what a fall of the step schedule leaves of the rate.
        loss: "mean" over the batch's labelled pixels, or their "sum" (the FCN paper's, for rates such as 1e-10).
        class_weights: one weight per class, or None for equal ones.
        flip: mirror half of the training images from left to right.
        scale: resize each training image by a random factor between these two, or None.
        crop: cut a random window of this (height, width) from each training image, or None.
        validate_every: steps between two validations; the last step is always validated.
        checkpoint_every: steps between two checkpoints; each validation and the last step write one as well.
        engine: who computes; None is the current engine.
        winograd: how far the engine "numba" may go with Winograd's convolutions, "off", "f2" or "f4"; None is what is
            in force, or the engine's choice for networks.

    Raises:
        ValueError, TypeError: a setting outside its range; the message names it.
    """

    steps: int
    batch_size: int = 4
    seed: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    backbone_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "polynomial"
    power: float = 0.9
    decay_every: int = 1000
    decay_factor: float = 0.1
    loss: str = "mean"
    class_weights: tuple[float, ...] | None = None
    flip: bool = True
    scale: tuple[float, float] | None = None
    crop: tuple[int, int] | None = None
    validate_every: int = 100
    checkpoint_every: int = 100
    engine: str | None = None
    winograd: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        for name in ("steps", "batch_size", "decay_every", "validate_every", "checkpoint_every"):
            checks.integer(getattr(self, name), name, at_least=1)
        checks.integer(self.seed, "seed", at_least=0)
        checks.choice(self.optimizer, "optimizer", OPTIMIZERS)
        checks.choice(self.schedule, "schedule", SCHEDULES)
        checks.choice(self.loss, "loss", LOSSES)
        if self.winograd is not None:
            checks.choice(self.winograd, "winograd", WINOGRAD)
        for name in ("learning_rate", "backbone_rate", "weight_decay", "power", "decay_factor"):
            checks.number(getattr(self, name), name, at_least=0.0)
        checks.number(self.momentum, "momentum", at_least=0.0, below=1.0)
        checks.flag(self.flip, "flip")
        if self.class_weights is not None:
            if not isinstance(self.class_weights, (tuple, list)):
                raise TypeError(f"class_weights must be numbers or None, got {checks.describe(self.class_weights)}")
            for weight in self.class_weights:
                checks.number(weight, "class_weights", at_least=0.0)
        if self.scale is not None:
            if not checks.is_pair(self.scale):
                raise TypeError(f"scale must be two numbers or None, got {checks.describe(self.scale)}")
            for factor in self.scale:
                checks.number(factor, "scale")
            RandomScale(*self.scale)
        if self.crop is not None:
            checks.size(self.crop, "crop")

    def learning_rate_at(self, step: int) -> float:
        """The learning rate after `step` updates."""
        if self.schedule == "polynomial":
            return self.learning_rate * schedules.polynomial(step, steps=self.steps, power=self.power)
        if self.schedule == "step":
            return self.learning_rate * schedules.step_decay(step, every=self.decay_every, factor=self.decay_factor)
        return self.learning_rate * schedules.constant(step)

    def make_optimiser(self) -> Optimiser:
        """A fresh optimiser."""
        if self.optimizer == "sgd":
            return SGD(self.momentum, self.weight_decay)
        return Adam(weight_decay=self.weight_decay)

    @property
    def engine_options(self) -> dict[str, str]:
        """What `npseg.use_engine` takes beside the engine's name."""
        return {} if self.winograd is None else {"winograd": self.winograd}

    def settled(self) -> "Settings":
        """These settings with `engine` and its `winograd` named, so that they mean the same wherever they are used.

        Raises:
            ValueError: the engine is not on this machine, or has no such option.
        """
        chosen = choose(self.engine, **self.engine_options)
        with use_engine(chosen.name, **chosen.options):
            winograd = engine_info().get("winograd_in_networks")
        return replace(self, engine=chosen.name, winograd=winograd)

    def describe(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Settings":
        """The settings that `describe` described, also after a way through JSON, which has lists for tuples."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in description.items()
        }
        return cls(**values)
