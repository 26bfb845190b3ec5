"""Learning-rate schedules: which fraction of the base rate a step gets.

Each is a pure function of the step, so a resumed run has nothing to restore. Steps count from 0: `step` is the number
of updates made before.
"""

from npseg import checks


def constant(step: int) -> float:
    """The full rate at every step.

    >>> constant(1000)
    1.0
    """
    return 1.0


def step_decay(step: int, *, every: int, factor: float = 0.1) -> float:
    """The rate falls by `factor` each time another `every` steps are done.

    Args:
        step: updates made before this one.
        every: steps between two falls.
        factor: what is left of the rate after a fall.

    >>> [step_decay(step, every=10, factor=0.5) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """
    falls = checks.integer(step, "step", at_least=0) // checks.integer(every, "every", at_least=1)
    checks.number(factor, "factor", at_least=0.0)
    return factor**falls


def polynomial(step: int, *, steps: int, power: float = 0.9) -> float:
    """The rate falls smoothly to zero: `(1 - step / steps) ** power`, DeepLab's "poly" schedule.

    Args:
        step: updates made before this one.
        steps: length of the whole training; from then on the rate is 0.
        power: 1 is a straight line.

    Source: Chen et al., "DeepLab" (2017), section 4.1.2.

    >>> polynomial(0, steps=100), polynomial(50, steps=100, power=2), polynomial(100, steps=100)
    (1.0, 0.25, 0.0)
    """
    checks.number(power, "power", at_least=0.0)
    left = max(0.0, 1 - checks.integer(step, "step", at_least=0) / checks.integer(steps, "steps", at_least=1))
    return float(left**power)
