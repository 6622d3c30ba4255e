"""What a parameter of a sweep may be, as W&B means it.

Each distribution gives the value at a share between 0 and 1 of its probability: a number drawn
evenly from there makes a value drawn from it.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Self, TypeVar, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from nn.errors import format_value

Number = int | float
FiniteFloat = Annotated[float, Field(allow_inf_nan=False, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
StrictInt = Annotated[int, Field(strict=True)]
Value = TypeVar("Value")
MAX_EXPONENT = 700.0
"""exp(x) overflows soon above it, and exp(-x) underflows."""
MAX_MULTIPLE = 2**53
"""The largest multiple of q; floats cannot count further."""


def _check_exponent(value: float) -> float:
    if abs(value) > MAX_EXPONENT:
        raise ValueError(
            f"{value:g} is an exponent, and exp({value:g}) is out of range; "
            "for bounds that are values, the distribution's name ends in _values"
        )
    return value


Exponent = Annotated[FiniteFloat, AfterValidator(_check_exponent)]


class LazySequence(Sequence[Value]):
    """A sequence whose elements are computed as they are accessed, however many there are."""

    def __init__(self, length: int, compute_item: Callable[[int], Value]) -> None:
        self.length, self.compute_item = length, compute_item

    def __len__(self) -> int:
        return min(self.length, sys.maxsize)  # Python allows no more

    @overload
    def __getitem__(self, index: int) -> Value: ...

    @overload
    def __getitem__(self, index: slice) -> list[Value]: ...

    def __getitem__(self, index: int | slice) -> Value | list[Value]:
        if isinstance(index, slice):
            return [self.compute_item(each) for each in range(*index.indices(len(self)))]
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return self.compute_item(index % self.length)


class Distribution(BaseModel, ABC):
    """What values a parameter takes, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    is_discrete: ClassVar[bool] = False
    """Whether the values can be listed."""

    @abstractmethod
    def ppf(self, probability: float) -> Any:
        """The value below which this share lies."""

    def unrounded_ppf(self, probability: float) -> float:
        """The value there before it is rounded, where it is."""
        return float(self.ppf(probability))

    def round(self, value: Any) -> Any:
        """The value that stands for one that is not rounded yet."""
        return value

    def list_values(self) -> Sequence[Any]:
        """List the values of a discrete distribution."""
        raise NotImplementedError

    @property
    def num_values(self) -> int:
        """The number of values of a discrete distribution."""
        return len(self.list_values())

    @property
    def values_to_check(self) -> tuple[Any, ...]:
        """The values to try before a sweep starts: all, or the outermost."""
        return tuple(self.list_values()) if self.is_discrete else (self.ppf(0.0), self.ppf(1.0))


class Constant(Distribution):
    """Always the same."""

    value: Any
    is_discrete: ClassVar[bool] = True

    def ppf(self, probability: float) -> Any:
        """The value."""
        return self.value

    def list_values(self) -> list[Any]:
        """The one."""
        return [self.value]


class Categorical(Distribution):
    """One of several values, each as often as the others."""

    values: Annotated[list[Any], Field(min_length=1)]
    is_discrete: ClassVar[bool] = True

    def ppf(self, probability: float) -> Any:
        """Equal parts."""
        return self.values[min(int(probability * len(self.values)), len(self.values) - 1)]

    def list_values(self) -> list[Any]:
        """As they are written, each once."""
        return _unique(self.values)


class CategoricalWithProbabilities(Distribution):
    """One of several values, each as often as its probability says."""

    values: Annotated[list[Any], Field(min_length=1)]
    probabilities: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    is_discrete: ClassVar[bool] = True

    @model_validator(mode="after")
    def check_probabilities(self) -> Self:
        """A probability for each value."""
        if len(self.probabilities) != len(self.values):
            raise ValueError("there must be as many probabilities as values")
        if abs(sum(self.probabilities) - 1) > 1e-6:
            raise ValueError("the probabilities must add up to 1")
        return self

    def ppf(self, probability: float) -> Any:
        """Parts as large as the probabilities."""
        index = bisect_right(list(accumulate(self.probabilities)), probability)
        nonzero = [i for i, weight in enumerate(self.probabilities) if weight > 0]
        return self.values[min(index, nonzero[-1])]

    def list_values(self) -> list[Any]:
        """As they are written, but for those that never come."""
        pairs = zip(self.values, self.probabilities, strict=True)
        return _unique([value for value, weight in pairs if weight > 0])


class _BoundedDistribution(Distribution):
    """From min to max."""

    min: Any
    max: Any

    @model_validator(mode="after")
    def check_min_below_max(self) -> Self:
        """In order."""
        if not self.min < self.max:
            raise ValueError(f"min is {self.min:g} and max {self.max:g}; min must be below max")
        return self


class IntUniform(_BoundedDistribution):
    """Whole numbers from min to max, both of them too."""

    min: StrictInt
    max: StrictInt
    is_discrete: ClassVar[bool] = True

    def ppf(self, probability: float) -> int:
        """Equal parts."""
        return min(self.min + int(probability * (self.max - self.min + 1)), self.max)

    def unrounded_ppf(self, probability: float) -> float:
        """Around the middle of each part stands the whole number."""
        return self.min - 0.5 + probability * (self.max - self.min + 1)

    def list_values(self) -> Sequence[Any]:
        """From the smallest to the largest."""
        return LazySequence(self.num_values, lambda place: self.min + place)

    @property
    def num_values(self) -> int:
        """Both ends are among them."""
        return self.max - self.min + 1

    @property
    def values_to_check(self) -> tuple[Any, ...]:
        """The two outermost."""
        return self.min, self.max


class Uniform(_BoundedDistribution):
    """Real numbers from min to max."""

    min: FiniteFloat
    max: FiniteFloat

    def ppf(self, probability: float) -> float:
        """On the straight line between them."""
        return min(max(self.min + probability * (self.max - self.min), self.min), self.max)


class LogUniform(_BoundedDistribution):
    """exp(x), with x uniform from min to max."""

    min: Exponent
    max: Exponent

    def ppf(self, probability: float) -> float:
        """Even in the exponent."""
        return math.exp(self.min + probability * (self.max - self.min))


class LogUniformValues(_BoundedDistribution):
    """Real numbers from min to max whose logarithm is uniform."""

    min: PositiveFloat
    max: PositiveFloat

    def ppf(self, probability: float) -> float:
        """Even in the logarithm."""
        low, high = math.log(self.min), math.log(self.max)
        return min(max(math.exp(low + probability * (high - low)), self.min), self.max)


class InvLogUniform(_BoundedDistribution):
    """1 / exp(x), with x uniform from min to max."""

    min: Exponent
    max: Exponent

    def ppf(self, probability: float) -> float:
        """From the smallest, 1 / exp(max), upwards."""
        return math.exp(-(self.max - probability * (self.max - self.min)))


class InvLogUniformValues(LogUniformValues):
    """Real numbers from min to max, the logarithm of whose inverse is uniform."""


class Normal(Distribution):
    """Around mu, with the standard deviation sigma."""

    mu: FiniteFloat = 0.0
    sigma: PositiveFloat = 1.0

    def ppf(self, probability: float) -> float:
        """The ends lie where one of a billion does."""
        return NormalDist(self.mu, self.sigma).inv_cdf(min(max(probability, 1e-9), 1 - 1e-9))


class LogNormal(Normal):
    """exp(x), with x normal."""

    def ppf(self, probability: float) -> float:
        """exp of the normal distribution's."""
        return math.exp(min(max(super().ppf(probability), -MAX_EXPONENT), MAX_EXPONENT))


class Beta(Distribution):
    """From 0 to 1, in the shape that a and b give."""

    a: PositiveFloat = 1.0
    b: PositiveFloat = 1.0

    def ppf(self, probability: float) -> float:
        """By scipy."""
        from scipy.stats import beta

        return float(beta.ppf(probability, self.a, self.b))


class Quantized(Distribution):
    """Rounded to multiples of q, which are whole numbers if q is one."""

    q: StrictInt | FiniteFloat = 1.0

    @field_validator("q")
    @classmethod
    def check_q(cls, q: Number) -> Number:
        """Above 0."""
        if q <= 0:
            raise ValueError("q must be above 0")
        return q

    @model_validator(mode="after")
    def check_max_multiple(self) -> Self:
        """Few enough to be counted."""
        if (
            max(abs(self.unrounded_ppf(probability)) for probability in (0.0, 1.0)) / self.q
            > MAX_MULTIPLE
        ):
            raise ValueError(f"q={self.q:g} is too small for values as large as these")
        return self

    def ppf(self, probability: float) -> Number:
        """The value that is rounded."""
        return self.round(self.unrounded_ppf(probability))

    def unrounded_ppf(self, probability: float) -> float:
        """What the distribution gives that is rounded here."""
        # the distribution that this is mixed into comes next, and is not abstract
        return float(super().ppf(probability))  # type: ignore[safe-super]

    def round(self, value: Any) -> Number:
        """The nearest multiple; of two equally near ones the even."""
        multiple: Number = round(value / self.q) * self.q
        return multiple


class QUniform(Quantized, Uniform):
    """Uniform, rounded."""

    is_discrete: ClassVar[bool] = True

    def list_values(self) -> Sequence[Any]:
        """All multiples from the one nearest to min to the one nearest to max."""
        first_multiple = round(self.min / self.q)
        return LazySequence(self.num_values, lambda place: (first_multiple + place) * self.q)

    @property
    def num_values(self) -> int:
        """The multiples nearest to the ends are among them."""
        return round(self.max / self.q) - round(self.min / self.q) + 1

    @property
    def values_to_check(self) -> tuple[Any, ...]:
        """The two outermost."""
        return self.ppf(0.0), self.ppf(1.0)


class QUniformGrid(QUniform):
    """The values that W&B's `method: grid` makes of `q_uniform`: from min in steps of q, below max.

    They are whole numbers if min and q are, and need not be multiples of q.
    """

    def list_values(self) -> Sequence[Any]:
        """From the smallest to the largest."""
        return LazySequence(self.num_values, self._value_at)

    @property
    def num_values(self) -> int:
        """Max is not among them."""
        return math.ceil((self.max - self.min) / self.q)

    def round(self, value: Any) -> Number:
        """The nearest of them."""
        return self._value_at(min(max(round((value - self.min) / self.q), 0), self.num_values - 1))

    def _value_at(self, index: int) -> Number:
        is_integer = isinstance(self.q, int) and self.min.is_integer()
        return (int(self.min) if is_integer else self.min) + index * self.q


class QLogUniform(Quantized, LogUniform):
    """Log-uniform, rounded."""


class QLogUniformValues(Quantized, LogUniformValues):
    """Log-uniform between values, rounded."""


class QNormal(Quantized, Normal):
    """Normal, rounded."""


class QLogNormal(Quantized, LogNormal):
    """Log-normal, rounded."""


class QBeta(Quantized, Beta):
    """Beta, rounded."""


def _unique(values: list[Any]) -> list[Any]:
    return list({format_value(value): value for value in reversed(values)}.values())[::-1]


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "constant": Constant,
    "categorical": Categorical,
    "categorical_w_probabilities": CategoricalWithProbabilities,
    "int_uniform": IntUniform,
    "uniform": Uniform,
    "q_uniform": QUniform,
    "log_uniform": LogUniform,
    "log_uniform_values": LogUniformValues,
    "q_log_uniform": QLogUniform,
    "q_log_uniform_values": QLogUniformValues,
    "inv_log_uniform": InvLogUniform,
    "inv_log_uniform_values": InvLogUniformValues,
    "normal": Normal,
    "q_normal": QNormal,
    "log_normal": LogNormal,
    "q_log_normal": QLogNormal,
    "beta": Beta,
    "q_beta": QBeta,
}


def infer_distribution_name(config: dict[str, Any]) -> str | None:
    """Name the distribution that W&B takes where none is named."""
    if "value" in config:
        return "constant"
    if "values" in config:
        return "categorical_w_probabilities" if "probabilities" in config else "categorical"
    if "min" in config and "max" in config:
        are_integers = all(type(config[bound]) is int for bound in ("min", "max"))
        return "int_uniform" if are_integers else "uniform"
    return None
