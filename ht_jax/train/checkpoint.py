"""Checkpoints of a run: the training state as pure dicts in Orbax, the newest two kept.

A checkpoint becomes visible only when it is whole, so a run killed at any moment resumes from the
newest; each carries digests of its files, and one that was damaged since gives way to the previous.
"""

import contextlib
import functools
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import jax
import numpy as np
from flax import serialization
from jax.experimental import multihost_utils

from ht_jax.digests import NAME as DIGESTS
from ht_jax.digests import check_digests, write_digests
from ht_jax.train.errors import UserError
from ht_jax.train.step import TrainState

KEEP = 2


class Checkpoints:
    """The checkpoints below one workdir; a context manager.

    Args:
        workdir: The run's folder.
        read_only: Leave the folder as it is: nothing is saved, damaged ones are passed over.
        say: Prints a line.

    Raises:
        ImportError: If Orbax is not installed.
    """

    def __init__(
        self, workdir: Path, *, read_only: bool = False, say: Callable[[str], None] = print
    ):
        self._ocp, self._workdir = _orbax(), workdir.absolute()
        self._read_only, self._say = read_only, say
        reading = {"read_only": True, "create": False, "save_interval_steps": 0}
        options = reading if read_only else self._writing()
        options = self._ocp.CheckpointManagerOptions(**options)
        self._manager = self._ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager.close()

    @property
    def steps(self) -> list[int]:
        """The steps at hand, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Saves a state under its own step; when it returns, the checkpoint is there.

        Args:
            state: The training state.
            meta: Plain data to keep beside it.

        Raises:
            OSError: If it cannot be written.
        """
        args, host = self._ocp.args, _host(state)
        items = args.Composite(state=args.StandardSave(host), meta=args.JsonSave(meta))
        with self._explained():
            self._manager.save(int(host["step"]), args=items)
            self._manager.wait_until_finished()  # so that a kill costs no more than the interval

    def restore(self, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest state that is undamaged; damaged ones are said and moved aside.

        Args:
            like: A state of the same structure, shapes and types.

        Returns:
            The state as NumPy arrays and its meta data, or None where there is no checkpoint.

        Raises:
            UserError: If there are checkpoints but all of them are damaged.
            ValueError: If the newest undamaged one is of another structure, or holds an array of
                another shape or dtype; it stays where it is.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps):
            try:
                restored = self._read(step, like)
            except _OtherState:
                raise
            except Exception as error:  # whatever the damage makes of the libraries that read it
                damaged[step] = _line(error)
                continue
            self._set_aside(damaged)
            return restored
        if damaged:
            step, reason = next(iter(damaged.items()))
            raise UserError(
                f"no checkpoint in {self._folder} can be read (that of step {step}: {reason}): "
                "start anew in another --workdir"
            )
        return None

    def _read(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        folder, host, args = self._folder / str(step), _host(like), self._ocp.args
        check_digests(folder)
        # Orbax itself compares the shapes of jax.Arrays alone.
        stored = self._ocp.StandardCheckpointHandler().metadata(folder / "state").tree
        _check_same_arrays(stored, host, folder)
        items = args.Composite(state=args.StandardRestore(host), meta=args.JsonRestore())
        restored = self._manager.restore(step, args=items)
        return serialization.from_state_dict(like, restored["state"]), restored["meta"]

    def _set_aside(self, damaged: dict[int, str]) -> None:
        for step, reason in damaged.items():
            self._say(f"the checkpoint of step {step} is damaged and passed over: {reason}")
        if self._read_only or not damaged:
            return
        multihost_utils.sync_global_devices("restored")
        if jax.process_index() == 0:
            for step in damaged:
                aside = tempfile.mkdtemp(prefix=f"damaged_{step}.", dir=self._workdir)
                (self._folder / str(step)).replace(aside)
        multihost_utils.sync_global_devices("set aside")
        self._manager.reload()

    @property
    def _folder(self) -> Path:
        return self._workdir / "checkpoints"

    def _writing(self) -> dict[str, Any]:
        # The callback runs before the move that makes a checkpoint visible.
        signed = self._ocp.options.AsyncOptions(post_finalization_callback=self._sign)
        return {"max_to_keep": KEEP, "cleanup_tmp_directories": True, "async_options": signed}

    def _sign(self) -> None:
        if jax.process_index() == 0:
            for folder in self._folder.iterdir():
                if not (folder / DIGESTS).exists():
                    write_digests(folder, "*/**/*")  # Orbax still writes beside

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        log = logging.getLogger("absl")
        log.addFilter(_is_warning)  # Orbax logs the traceback of what it raises, from three threads
        try:
            yield
        except Exception as error:  # the libraries below have no common error for a full disk
            raise OSError(
                f"a checkpoint cannot be written to {self._folder} ({_line(error)}): free some "
                "space, then the same command resumes from the checkpoint before"
            ) from error
        finally:
            log.removeFilter(_is_warning)


class _OtherState(ValueError):
    """A whole checkpoint of another state than the one asked for."""


def _check_same_arrays(stored: Any, wanted: dict[str, Any], folder: Path) -> None:
    stored, wanted = _arrays(stored), _arrays(wanted)
    if differing := {name for name in stored | wanted if stored.get(name) != wanted.get(name)}:
        name = min(differing)
        raise _OtherState(
            f"{folder} holds another state, in {len(differing)} arrays: {name} is "
            f"{stored.get(name, 'missing')}, not {wanted.get(name, 'to be there')}; restore it "
            "into the model and optimizer that it was saved from"
        )


def _arrays(state: Any) -> dict[str, str]:
    """Dtype and shape of every array, by its path."""
    leaves, _ = jax.tree.flatten_with_path(state)
    texts = ((path, f"{np.dtype(leaf.dtype)}{list(leaf.shape)}") for path, leaf in leaves)
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path): text for path, text in texts}


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno <= logging.WARNING


def _host(state: TrainState) -> dict[str, Any]:
    # Copies: the next step donates the device's buffers, of which np.asarray may be a mere view.
    return serialization.to_state_dict(jax.tree.map(np.array, state))


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 200 else f"{text[:200]} ..."


def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError("checkpoints need Orbax: pip install 'ht_jax[train]'") from error
    return orbax.checkpoint
