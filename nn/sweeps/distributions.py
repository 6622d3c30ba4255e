"""Distributions of sweep parameters, with the semantics of W&B.

Each has a `ppf` (quantile function): applied to a number drawn uniformly from [0, 1), it gives a
value drawn from the distribution.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Annotated, ClassVar, Self, TypeAlias, TypeGuard, TypeVar, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    field_validator,
    model_validator,
)

from nn.errors import format_value

Number: TypeAlias = int | float
ParameterValue: TypeAlias = JsonValue
"""A value of a sweep parameter: a number, string, Boolean or null, or a list such as [64, 32]."""
FiniteFloat = Annotated[float, Field(allow_inf_nan=False, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Value = TypeVar("Value")
MAX_EXPONENT = 700.0
"""Above this, exp(x) soon overflows and exp(-x) underflows."""
MAX_MULTIPLE = 2**53
"""Largest multiple of q: beyond it, floats cannot represent every integer."""


def _check_exponent(value: float) -> float:
    if abs(value) > MAX_EXPONENT:
        raise ValueError(
            f"{value:g} is an exponent, and exp({value:g}) is out of range; "
            "if the bounds are values, use the distribution whose name ends in _values"
        )
    return value


Exponent = Annotated[FiniteFloat, AfterValidator(_check_exponent)]


class LazySequence(Sequence[Value]):
    """Sequence of any length whose elements are computed on access."""

    def __init__(self, length: int, compute_item: Callable[[int], Value]) -> None:
        self.length, self.compute_item = length, compute_item

    def __len__(self) -> int:
        return min(self.length, sys.maxsize)  # len() raises OverflowError above it

    @overload
    def __getitem__(self, index: int) -> Value: ...

    @overload
    def __getitem__(self, index: slice) -> list[Value]: ...

    def __getitem__(self, index: int | slice) -> Value | list[Value]:
        if isinstance(index, slice):
            return [self.compute_item(i) for i in range(*index.indices(len(self)))]
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return self.compute_item(index % self.length)


class Distribution(BaseModel):
    """Distribution of the values of a sweep parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    is_discrete: ClassVar[bool] = False
    """Whether `list_values` and `num_values` are available."""
    is_log: ClassVar[bool] = False
    """Whether the values are best compared on a logarithmic scale."""

    def ppf(self, probability: float) -> ParameterValue:
        """Return the quantile: the value below which this share of the probability lies."""
        return self.round(self.unrounded_ppf(probability))

    def unrounded_ppf(self, probability: float) -> float:
        """Return the quantile of a distribution of numbers, before it is rounded."""
        raise NotImplementedError

    def round(self, value: Number) -> Number:
        """Return the nearest number that the distribution can take: itself, unless quantized."""
        return value

    def list_values(self) -> Sequence[ParameterValue]:
        """Return the distinct values of a discrete distribution."""
        raise NotImplementedError

    @property
    def num_values(self) -> int:
        """Number of values of a discrete distribution."""
        values = self.list_values()
        return values.length if isinstance(values, LazySequence) else len(values)

    @property
    def values_to_check(self) -> tuple[ParameterValue, ...]:
        """Values for a dry run before the sweep: the listed ones, or the extremes of a range."""
        if not self.is_discrete:
            return self.ppf(0.0), self.ppf(1.0)
        values = self.list_values()
        return (values[0], values[-1]) if isinstance(values, LazySequence) else tuple(values)


class Constant(Distribution):
    """The same value in every trial."""

    value: ParameterValue
    is_discrete: ClassVar[bool] = True

    def ppf(self, probability: float) -> ParameterValue:
        """Ignore the probability."""
        return self.value

    def list_values(self) -> list[ParameterValue]:
        """Return the value as a list of one."""
        return [self.value]


class Categorical(Distribution):
    """One of several values, all equally probable; a value written twice is twice as probable."""

    values: Annotated[list[ParameterValue], Field(min_length=1)]
    is_discrete: ClassVar[bool] = True

    def ppf(self, probability: float) -> ParameterValue:
        """Divide [0, 1] into equal parts, one for each value."""
        return self.values[min(int(probability * len(self.values)), len(self.values) - 1)]

    def list_values(self) -> list[ParameterValue]:
        """Return the values in the order of the file, without duplicates."""
        return _unique(self.values)


class CategoricalWithProbabilities(Distribution):
    """One of several values, each with its own probability."""

    values: Annotated[list[ParameterValue], Field(min_length=1)]
    probabilities: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    is_discrete: ClassVar[bool] = True

    @model_validator(mode="after")
    def check_probabilities(self) -> Self:
        """Require one probability for each value, adding up to 1."""
        if len(self.probabilities) != len(self.values):
            raise ValueError("there must be as many probabilities as values")
        if abs(sum(self.probabilities) - 1) > 1e-6:
            raise ValueError("the probabilities must add up to 1")
        return self

    def ppf(self, probability: float) -> ParameterValue:
        """Divide [0, 1] into parts as large as the probabilities."""
        index = bisect_right(list(accumulate(self.probabilities)), probability)
        nonzero = [i for i, weight in enumerate(self.probabilities) if weight > 0]
        return self.values[min(index, nonzero[-1])]

    def list_values(self) -> list[ParameterValue]:
        """Return the values of nonzero probability in the order of the file, without duplicates."""
        pairs = zip(self.values, self.probabilities, strict=True)
        return _unique([value for value, weight in pairs if weight > 0])


class _BoundedDistribution(Distribution):
    """Base of the distributions with bounds `min` and `max`."""

    min: float
    max: float

    @model_validator(mode="after")
    def check_min_below_max(self) -> Self:
        """Require min < max."""
        if not self.min < self.max:
            raise ValueError(f"min is {self.min:g} and max {self.max:g}; min must be below max")
        return self


class IntUniform(_BoundedDistribution):
    """Integers from min to max, both included."""

    min: StrictInt
    max: StrictInt
    is_discrete: ClassVar[bool] = True

    def ppf(self, probability: float) -> int:
        """Divide [0, 1] into equal parts, one for each integer."""
        return min(self.min + int(probability * (self.max - self.min + 1)), self.max)

    def unrounded_ppf(self, probability: float) -> float:
        """Return the quantile before rounding, which spans min - 0.5 to max + 0.5."""
        return self.min - 0.5 + probability * (self.max - self.min + 1)

    def list_values(self) -> LazySequence[ParameterValue]:
        """Return the integers in ascending order, both bounds included."""
        return LazySequence(self.max - self.min + 1, lambda index: self.min + index)


class Uniform(_BoundedDistribution):
    """Real numbers from min to max."""

    min: FiniteFloat
    max: FiniteFloat

    def unrounded_ppf(self, probability: float) -> float:
        """Interpolate linearly from min to max."""
        return min(max(self.min + probability * (self.max - self.min), self.min), self.max)


class LogUniform(_BoundedDistribution):
    """exp(x), with x uniform from min to max."""

    is_log: ClassVar[bool] = True
    min: Exponent
    max: Exponent

    def unrounded_ppf(self, probability: float) -> float:
        """Interpolate linearly in the exponent."""
        return math.exp(self.min + probability * (self.max - self.min))


class LogUniformValues(_BoundedDistribution):
    """Real numbers from min to max whose logarithm is uniform."""

    is_log: ClassVar[bool] = True
    min: PositiveFloat
    max: PositiveFloat

    def unrounded_ppf(self, probability: float) -> float:
        """Interpolate linearly in the logarithm."""
        low, high = math.log(self.min), math.log(self.max)
        return min(max(math.exp(low + probability * (high - low)), self.min), self.max)


class InvLogUniform(LogUniform):
    """1 / exp(x), with x uniform from min to max."""

    def unrounded_ppf(self, probability: float) -> float:
        """Interpolate linearly in the exponent, from the smallest value, exp(-max), upwards."""
        return math.exp(-(self.max - probability * (self.max - self.min)))


class InvLogUniformValues(LogUniformValues):
    """Real numbers from min to max, the logarithm of whose reciprocal is uniform."""


class Normal(Distribution):
    """Normal distribution with mean mu and standard deviation sigma."""

    mu: FiniteFloat = 0.0
    sigma: PositiveFloat = 1.0

    def unrounded_ppf(self, probability: float) -> float:
        """Return the quantile; a probability of 0 or 1 is clipped by 1e-9 to keep it finite."""
        return NormalDist(self.mu, self.sigma).inv_cdf(min(max(probability, 1e-9), 1 - 1e-9))


class LogNormal(Normal):
    """exp(x), where x is normal with mean mu and standard deviation sigma."""

    is_log: ClassVar[bool] = True

    def unrounded_ppf(self, probability: float) -> float:
        """Return exp of the normal quantile, which is first clipped to +-MAX_EXPONENT."""
        return math.exp(min(max(super().unrounded_ppf(probability), -MAX_EXPONENT), MAX_EXPONENT))


class Beta(Distribution):
    """Beta distribution on [0, 1] with the shape parameters a and b."""

    a: PositiveFloat = 1.0
    b: PositiveFloat = 1.0

    def unrounded_ppf(self, probability: float) -> float:
        """Return the quantile that SciPy computes."""
        from scipy.stats import beta  # slow to import

        return float(beta.ppf(probability, self.a, self.b))


class Quantized(Distribution):
    """Mixin that rounds another distribution to multiples of q; they are integers if q is one."""

    q: StrictInt | FiniteFloat = 1.0

    @field_validator("q")
    @classmethod
    def check_q(cls, q: Number) -> Number:
        """Require q > 0."""
        if q <= 0:
            raise ValueError("q must be above 0")
        return q

    @model_validator(mode="after")
    def check_max_multiple(self) -> Self:
        """Refuse bounds of more than `MAX_MULTIPLE` times q."""
        largest = max(abs(self.unrounded_ppf(probability)) for probability in (0.0, 1.0))
        if largest / self.q > MAX_MULTIPLE:
            raise ValueError(f"q={self.q:g} is too small for values as large as these")
        return self

    def round(self, value: Number) -> Number:
        """Return the nearest multiple of q; ties go to the even multiple, as in NumPy."""
        return round(value / self.q) * self.q


class QUniform(Quantized, Uniform):
    """Uniform distribution rounded to multiples of q."""

    is_discrete: ClassVar[bool] = True

    def list_values(self) -> LazySequence[ParameterValue]:
        """Return the multiples from the one nearest to min to the one nearest to max."""
        first, last = round(self.min / self.q), round(self.max / self.q)
        return LazySequence(last - first + 1, lambda index: (first + index) * self.q)


class QUniformGrid(QUniform):
    """The values of `q_uniform` under W&B's `method: grid`: from min in steps of q, below max.

    They are integers if min and q are, and need not be multiples of q.
    """

    def list_values(self) -> LazySequence[ParameterValue]:
        """Return the values in ascending order; max is excluded."""
        return LazySequence(math.ceil((self.max - self.min) / self.q), self._value_at)

    def round(self, value: Number) -> Number:
        """Return the nearest grid value."""
        return self._value_at(min(max(round((value - self.min) / self.q), 0), self.num_values - 1))

    def _value_at(self, index: int) -> Number:
        is_integer = isinstance(self.q, int) and self.min.is_integer()
        return (int(self.min) if is_integer else self.min) + index * self.q


class QLogUniform(Quantized, LogUniform):
    """`LogUniform` rounded to multiples of q."""


class QLogUniformValues(Quantized, LogUniformValues):
    """`LogUniformValues` rounded to multiples of q."""


class QNormal(Quantized, Normal):
    """`Normal` rounded to multiples of q."""


class QLogNormal(Quantized, LogNormal):
    """`LogNormal` rounded to multiples of q."""


class QBeta(Quantized, Beta):
    """`Beta` rounded to multiples of q."""


def is_number(value: ParameterValue) -> TypeGuard[Number]:
    """Return whether a value is a number, which a Boolean is not."""
    return type(value) in (int, float)


def _unique(values: list[ParameterValue]) -> list[ParameterValue]:
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
"""Distributions by the name that `distribution:` takes in a sweep file."""


def infer_distribution_name(config: Mapping[str, ParameterValue]) -> str | None:
    """Return the distribution that W&B infers from the keys of a parameter, or None."""
    if "value" in config:
        return "constant"
    if "values" in config:
        return "categorical_w_probabilities" if "probabilities" in config else "categorical"
    if "min" in config and "max" in config:
        are_integers = all(type(config[bound]) is int for bound in ("min", "max"))
        return "int_uniform" if are_integers else "uniform"
    return None
