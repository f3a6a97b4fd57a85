"""Checkpoints of a run: the training state as pure dicts in Orbax, the newest two kept.

A checkpoint becomes visible only when it is whole, so a run killed at any moment resumes from the
newest whole one.
"""

from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import jax
import numpy as np
from flax import serialization

from ht_jax.train.step import TrainState

KEEP = 2


class Checkpoints:
    """The checkpoints below one workdir; a context manager that finishes pending saves.

    Args:
        workdir: The run's folder.

    Raises:
        ImportError: If Orbax is not installed.
    """

    def __init__(self, workdir: Path):
        self._ocp = _orbax()
        options = self._ocp.CheckpointManagerOptions(
            max_to_keep=KEEP, enable_async_checkpointing=True
        )
        folder = (workdir / "checkpoints").absolute()
        self._manager = self._ocp.CheckpointManager(folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager.close()  # waits for pending saves

    @property
    def steps(self) -> list[int]:
        """The steps at hand, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Saves a state under its own step, in the background.

        Args:
            state: The training state.
            meta: Plain data to keep beside it.
        """
        args = self._ocp.args
        host = _host(state)
        items = args.Composite(state=args.StandardSave(host), meta=args.JsonSave(meta))
        self._manager.save(int(host["step"]), args=items)

    def restore(self, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest state.

        Args:
            like: A state of the same structure, shapes and types.

        Returns:
            The state as NumPy arrays and its meta data, or None where there is no checkpoint.
        """
        if not self.steps:
            return None
        args = self._ocp.args
        items = args.Composite(state=args.StandardRestore(_host(like)), meta=args.JsonRestore())
        restored = self._manager.restore(self.steps[-1], args=items)
        return serialization.from_state_dict(like, restored["state"]), restored["meta"]

    def finish(self) -> None:
        """Waits until every save is on the disk."""
        self._manager.wait_until_finished()


def _host(state: TrainState) -> dict[str, Any]:
    # Copies: the next step donates the device's buffers, of which np.asarray may be a mere view.
    return serialization.to_state_dict(jax.tree.map(np.array, state))


def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError("checkpoints need Orbax: pip install 'ht_jax[train]'") from error
    return orbax.checkpoint
