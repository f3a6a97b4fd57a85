"""Preemption: SIGTERM or SIGINT asks a run to stop after the step it is in; a second one insists.

Of several processes any one may be asked: the signal travels through `jax.distributed`, which names
a step that none has passed, and all stop there.
"""

import os
import signal
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class StopSignals:
    """Listens for the signals while it is entered.

    Of several processes SIGTERM is JAX's own to hear, and SIGINT is turned into one.
    """

    def __init__(self):
        self._asked, self._previous = False, {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._previous = {each: signal.signal(each, self._hear) for each in _heard()}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def asked(self, step: int) -> bool:
        """Whether to stop after a step.

        Args:
            step: The step that has just been taken; every process asks after each of its steps.

        Returns:
            The same on every process.
        """
        if jax.process_count() == 1:
            return self._asked
        return multihost_utils.reached_preemption_sync_point(step)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)  # the next one ends the process at once
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)


def _heard() -> tuple[signal.Signals, ...]:
    alone = jax.process_count() == 1
    return (signal.SIGINT, signal.SIGTERM) if alone else (signal.SIGINT,)
