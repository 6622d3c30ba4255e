"""The settings of a sweep's trials, tried before it starts, at a bounded cost.

Each value is compared with the type and the range of its setting. The ends of ranges, and a sample
of what is listed, are also prepared as a trial would be, since settings must suit each other.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from functools import cache, cached_property
from itertools import zip_longest
from typing import Any

from nn.config.aliases import options
from nn.config.compose import annotation, configuration
from nn.config.instantiate import fits
from nn.config.knobs import KNOBS
from nn.config.schema import GROUPS
from nn.errors import Mistake, as_typed
from nn.runs.experiment import prepare
from nn.sweeps.distributions import IntUniform
from nn.sweeps.schema import Sweep
from nn.sweeps.space import Point, words

MAX_TRIES = 40
"""Configurations prepared for each of three purposes; one takes some 10 ms."""
MAX_VALUES = 12
"""Values of one parameter that are prepared."""
MAX_SENTENCES = 5
"""Refused values of one parameter that are reported one by one."""


class DryRun:
    """The trials of a sweep, judged by their settings."""

    def __init__(self, sweep: Sweep, overrides: Sequence[str], misread: Collection[str]) -> None:
        """Leave out true and false of parameters whose values YAML has misread."""
        before, after = sweep.fixed_words
        fixed = [*before, *after, *overrides]
        self.searched = [each for each in fixed if _key(each) in sweep.parameters]
        """Fixed words that the sweep searches itself."""
        self.before = [word for word in before if word not in self.searched]
        self.after = [word for word in (*after, *overrides) if word not in self.searched]
        self.parameters, self.misread = sweep.parameters, misread
        self.tries = 0

    @cached_property
    def base(self) -> dict[str, Any]:
        """A configuration with valid options, by which single values can be judged."""
        valid = {
            name: next((value for value in each.ends if _is_option(name, value)), None)
            for name, each in self.parameters.items()
            if name in GROUPS
        }
        chosen = {name: value for name, value in valid.items() if value is not None}
        for attempt in (self._words(chosen), self._words({}), words(chosen)):
            try:
                return configuration(attempt)
            except Mistake:
                continue
        return configuration([])

    def mistakes(self) -> Iterator[str]:
        """Report what would be refused; what is refused once is left out from then on."""
        for word in self.searched:
            yield f"{word}: the sweep searches this itself; leave it out."
        plausible: dict[str, list[Any]] = {}
        suspect: dict[str, list[Any]] = {}
        for name, each in self.parameters.items():
            kind = annotation(name, self.base)
            if isinstance(each, IntUniform) and kind is not Any and fits(0.5, kind):
                yield (
                    f"parameters.{name}: min {each.min} and max {each.max} are whole numbers, so "
                    f"only whole numbers would be tried; write {each.min}.0 and {each.max}.0."
                )
                continue
            for value in each.ends:
                if self._is_plausible(name, value, kind):
                    plausible.setdefault(name, []).append(value)
                elif not (_is_bool(value) and name in self.misread):
                    suspect.setdefault(name, []).append(value)
        first = {name: values[0] for name, values in plausible.items()}
        if not (yield from self._combined(first)):
            return
        yield from self._suspects(first, suspect)
        yield from self._sampled(first, plausible)

    def _combined(self, first: Point) -> Generator[str, None, bool]:
        """Try the first values together, until what is refused has been reported and taken out.

        Say whether the rest can run, so that further values can be tried with it.
        """
        while self.tries < MAX_TRIES:
            sentence = self._refused(first)
            if sentence is None:
                return True
            fixed = [each for each in self.fixed if sentence.startswith(f"{_key(each)}=")]
            if fixed and _key(fixed[0]) not in first:
                yield sentence
                self.before, self.after = (
                    [word for word in side if word not in fixed]
                    for side in (self.before, self.after)
                )
                continue
            name = self._culprit(first, sentence)
            if name is None:
                yield sentence
                return False
            yield f"parameters.{name}: {sentence}"
            for other in [each for each in first if each == name or each.startswith(f"{name}.")]:
                del first[other]  # since an option takes its settings with it
            if (group := name.partition(".")[0]) in first and self._needs(first, name):
                del first[group]
        return False

    @property
    def fixed(self) -> list[str]:
        """The words that are the same for all trials."""
        return [*self.before, *self.after]

    def _culprit(self, point: Point, sentence: str) -> str | None:
        """Find the parameter without which a sentence does not come."""

        def unlikely(name: str) -> tuple[bool, bool, int]:
            setting, value = f"{name}=", as_typed(point[name])
            named = len(value) if value in sentence else 0
            return not sentence.startswith(setting), setting not in sentence, -named

        for name in sorted(point, key=unlikely)[:MAX_TRIES]:
            rest = {other: value for other, value in point.items() if other != name}
            if self._refused(rest) != sentence:
                return name
        return None

    def _needs(self, point: Point, name: str) -> bool:
        """Whether an option cannot do without a setting."""
        return (self._refused(point) or "").startswith(f"{name} is missing")

    def _suspects(self, first: Point, suspect: dict[str, list[Any]]) -> Iterator[str]:
        """Try what does not look right by itself: it may be of a kind that is not known here."""
        left = MAX_TRIES
        for name, values in suspect.items():
            if not left:
                yield f"parameters.{name} and others are not checked until these are right."
                return
            tried = values[: min(MAX_SENTENCES, left)]
            left -= len(tried)
            refused = [self._refused(first | {name: value}) for value in tried]
            yield from (f"parameters.{name}: {each}" for each in refused if each)
            if all(refused) and len(values) > len(tried):
                yield f"parameters.{name}: {len(values) - len(tried)} more values are like these."

    def _sampled(self, first: Point, plausible: dict[str, list[Any]]) -> Iterator[str]:
        """Try other values, one parameter at a time, the outermost first."""
        samples = {name: _sample(plausible[name])[1:] for name in first}
        last = {name: values[0] for name, values in samples.items() if values}
        if last and self._refused(first | last) is None:  # so that each of them is right by itself
            samples = {
                name: values if name in GROUPS else values[1:] for name, values in samples.items()
            }
        turns = zip_longest(*samples.values(), fillvalue=_NONE)
        tries = [(name, value) for turn in turns for name, value in zip(samples, turn, strict=True)]
        for name, value in [each for each in tries if each[1] is not _NONE][:MAX_TRIES]:
            sentence = self._refused(first | {name: value})
            if sentence:
                yield f"parameters.{name}: {sentence}"

    def _words(self, point: Point) -> list[str]:
        return [*self.before, *words(point), *self.after]

    def _refused(self, point: Point) -> str | None:
        """Say why a trial cannot run, if it cannot."""
        self.tries += 1
        try:
            prepare(configuration(self._words(point)))
        except Mistake as mistake:
            return str(mistake)
        return None

    def _is_plausible(self, name: str, value: Any, kind: Any) -> bool:
        """Whether a value is of its setting's type and range, as far as these are known."""
        if name in GROUPS:
            return _is_option(name, value)
        if name in KNOBS:
            return fits(value, kind) and (value is None or bool(KNOBS[name].allows(value)))
        group, _, setting = name.partition(".")
        node = self.base.get(group)
        return isinstance(node, dict) and setting in node and fits(value, kind)


_NONE = object()


def _key(word: str) -> str:
    return word.split("=")[0].lstrip("+")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


@cache
def _options(group: str) -> frozenset[str]:
    return frozenset(options(group))


def _is_option(group: str, value: Any) -> bool:
    return isinstance(value, str) and value in _options(group)


def _sample(values: list[Any]) -> list[Any]:
    """Choose few of many values: of numbers the first and the outermost, of others some."""
    if all(isinstance(value, int | float) and not _is_bool(value) for value in values):
        chosen = [values[0], max(values), min(values)]
    else:
        steps = min(len(values), MAX_VALUES)
        places = {round(step * (len(values) - 1) / max(steps - 1, 1)) for step in range(steps)}
        chosen = [values[place] for place in sorted(places)]
    return list({as_typed(value): value for value in chosen}.values())
