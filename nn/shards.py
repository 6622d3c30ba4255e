"""Shards: the equal parts into which each training batch is split, and the threads for them.

The number of shards is fixed, whatever the number of threads, and the results of shards are summed
in a fixed order. So the number of shards decides the bits, and the number of threads only the time.
NumPy and BLAS release Python's interpreter lock, so that threads suffice to use several cores.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from threading import Lock, Semaphore
from typing import Self

from nn.types import Array


class Shard:
    """One part of each training batch."""

    def __init__(self, index: int, group: ShardGroup) -> None:
        self.index, self._group = index, group
        self.rows = slice(0, 0)
        """The rows of the current batch that are in this shard."""

    @property
    def num_samples(self) -> int:
        """The number of samples in this shard."""
        return self.rows.stop - self.rows.start

    @property
    def batch_size(self) -> int:
        """The number of samples in the current batch, those of the other shards included."""
        return self._group.batch_size

    def all_mean(self, shard_mean: Array) -> Array:
        """Return the mean over the batch, given that over this shard; wait for the other shards."""
        return self._group.all_mean(self, shard_mean)

    def wait_for_all(self) -> None:
        """Wait until all shards have called this method."""
        self._group.wait_for_all()

    def part_of(self, size: int) -> slice:
        """Return this shard's part of a range; the first parts are longer by 1 if need be."""
        part_size, num_longer = divmod(size, self._group.num_active)
        start = self.index * part_size + min(self.index, num_longer)
        return slice(start, start + part_size + (self.index < num_longer))


class ShardGroup:
    """All shards of a batch.

    Each shard has a thread, so that shards can wait for each other, but no more than `num_threads`
    of them work at a time. The first one has the thread that calls `run`.
    """

    def __init__(
        self,
        num_shards: int,
        num_threads: int,
        defer_interrupts: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.shards = [Shard(index, self) for index in range(num_shards)]
        self.num_threads, self.batch_size = min(num_shards, num_threads), 0
        self._executor = ThreadPoolExecutor(max(1, num_shards - 1), "shard")
        self._permits = Semaphore(self.num_threads)
        self._defer_interrupts = defer_interrupts
        self._means: dict[int, Array] = {}
        self._lock, self._waiting, self._is_aborted = Lock(), list[Lock](), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()

    @property
    def num_active(self) -> int:
        """Number of shards of the current batch; one of few samples has one shard per sample."""
        return min(len(self.shards), self.batch_size)

    def split(self, batch_size: int) -> None:
        """Split a batch into shards."""
        self.batch_size = batch_size
        for shard in self.shards[: self.num_active]:
            shard.rows = shard.part_of(batch_size)

    def run(self, task: Callable[[Shard], None]) -> None:
        """Call a function for each shard of the current batch, and wait until all have returned."""
        self._is_aborted = False
        first, *others = self.shards[: self.num_active]
        errors: list[BaseException] = []
        with self._defer_interrupts():
            futures = [
                # a copy of the context, as np.errstate would not apply to other threads
                self._executor.submit(copy_context().run, self._run_shard, task, shard)
                for shard in others
            ]
            try:
                self._run_shard(task, first)
            except BaseException as own_error:
                errors.append(own_error)
            errors += filter(None, [future.exception() for future in futures])
        # that a shard was aborted is only the consequence of an error in another one
        for error in sorted(errors, key=lambda error: isinstance(error, _AbortedError)):
            raise error

    def all_mean(self, shard: Shard, shard_mean: Array) -> Array:
        """Return the mean over the batch as soon as all shards have passed theirs."""
        self._means[shard.index] = shard_mean
        self.wait_for_all()
        return self._mean

    def wait_for_all(self) -> None:
        """Wait until all shards have called this method, and let others work in the meantime.

        A lock for each waiting shard takes a third of the time of Python's `Barrier`.
        """
        wake_up = Lock()
        wake_up.acquire()
        with self._lock:
            if self._is_aborted:
                raise _AbortedError
            self._waiting.append(wake_up)
            if len(self._waiting) == self.num_active:
                self._average()
                self._wake_all()
        self._permits.release()
        wake_up.acquire()
        self._permits.acquire()
        if self._is_aborted:
            raise _AbortedError

    def _average(self) -> None:
        """Average the means of the shards in their order."""
        if self._means:
            sums = [self._means[i] * self.shards[i].num_samples for i in range(self.num_active)]
            self._mean = sum(sums[1:], start=sums[0]) / self.batch_size
            self._means.clear()

    def _wake_all(self) -> None:
        for wake_up in self._waiting:
            wake_up.release()
        self._waiting.clear()

    def _run_shard(self, task: Callable[[Shard], None], shard: Shard) -> None:
        with self._permits:
            try:
                if self._is_aborted:
                    raise _AbortedError
                task(shard)
            except BaseException:
                self._abort()
                raise

    def _abort(self) -> None:
        """Keep the other shards from waiting for one that has failed."""
        with self._lock:
            self._is_aborted = True
            self._means.clear()
            self._wake_all()


class _AbortedError(Exception):
    """Another shard has failed."""
