"""One training step and one evaluation step, as pure functions of a state that is a plain dict.

Under an axis name the batch is one device's share and the means and sums run over that axis (pmap);
without one it is the whole batch and XLA shards it (jit). Both compute the same numbers.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from ht_jax.train.accumulate import accumulated

Params: TypeAlias = dict[str, Any]
TrainState: TypeAlias = dict[str, Any]  # {"params", "opt_state", "step", "skipped": int32 ()}
Batch: TypeAlias = Mapping[
    str, Array | np.ndarray
]  # {"frames", "label": int32[, "length": int32][, "mask": bool][, "teacher": logits]}
Apply: TypeAlias = Callable[..., Array]


def split_model(model: nnx.Module) -> tuple[Apply, Params]:
    """Splits a module into a pure function and its parameters.

    Args:
        model: A module with the call `model(frames, *, rngs=None) -> logits`, which also takes
            `seq_lengths=` if batches come with the lengths of their clips.

    Returns:
        `apply(params, frames, key=None, lengths=None) -> logits`, where a key turns dropout on,
        and the parameters as a pure dict. Merging inside the step costs nothing once compiled, and
        dispatch is far cheaper than nnx.jit with many small cores.
    """
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    def apply(
        params: Params,
        frames: Array,
        key: PRNGKeyArray | None = None,
        lengths: Array | None = None,
    ) -> Array:
        module = nnx.merge(graphdef, params, rest)
        options = {} if lengths is None else {"seq_lengths": lengths}
        if key is None:
            module.eval()
            return module(frames, **options)
        module.train()
        return module(frames, rngs=nnx.Rngs(dropout=key), **options)

    return apply, nnx.to_pure_dict(params)


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Builds the state before the first step.

    Args:
        params: The initial parameters.
        optimizer: The optimizer.

    Returns:
        The state: "step" counts the steps taken, "skipped" those skipped since the last that was
        not.
    """
    return {
        "params": params,
        "opt_state": optimizer.init(params),
        "step": jnp.zeros((), jnp.int32),
        "skipped": jnp.zeros((), jnp.int32),
    }


def make_train_step(
    apply: Apply,
    optimizer: optax.GradientTransformation,
    seed: int,
    axis: str | None = None,
    penalty: Callable[[Params], Array] | None = None,
    parts: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """Builds the training step.

    Args:
        apply: The model's pure function.
        optimizer: The optimizer.
        seed: Seed of the dropout; the key of a step depends on it and the step alone, so that a
            resumed run draws what an undisturbed one would. Under an axis every device draws its
            own, so with dropout pmap and jit agree only in distribution.
        axis: The axis over devices, if any.
        penalty: A function of the parameters that is added to the loss.
        parts: How many parts a batch is taken in.

    Returns:
        `train_step(state, batch) -> (state, metrics)` with loss, accuracy and grad_norm (before
        clipping), each a float32 scalar, and the state's "skipped". A step whose loss or gradient
        is not finite changes neither parameters nor optimizer.
    """

    def loss_fn(params: Params, batch: Batch, key: PRNGKeyArray) -> tuple[Array, Array]:
        logits = _logits(apply, params, batch, key)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
        loss = loss if penalty is None else loss + penalty(params)
        if "teacher" in batch:
            loss = loss + _divergence(jnp.asarray(batch["teacher"]), logits)
        return loss, jnp.mean(_classes(logits) == batch["label"], dtype=jnp.float32)

    value_and_grad = accumulated(jax.value_and_grad(loss_fn, has_aux=True), parts)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = _dropout_key(seed, state["step"], axis)
        (loss, accuracy), grads = _mean(value_and_grad(state["params"], batch, key), axis)
        # Optax mixes floats with integer counts, which strict dtype promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(grads, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        metrics = {"loss": loss, "accuracy": accuracy, "grad_norm": optax.tree.norm(grads)}
        finite = jnp.isfinite(loss) & jnp.isfinite(metrics["grad_norm"])
        state = _advanced(state, {"params": params, "opt_state": opt_state}, finite)
        return state, {**metrics, "skipped": state["skipped"]}

    return train_step


def make_eval_step(
    apply: Apply, axis: str | None = None
) -> Callable[[Params, Batch], dict[str, Array]]:
    """Builds the evaluation step.

    Args:
        apply: The model's pure function.
        axis: The axis over devices, if any.

    Returns:
        `eval_step(params, batch) -> sums` over the examples that the mask keeps: "loss",
        float32 (), and "confusion", int32 (classes, classes), true class by predicted class. The
        counts are integers, so accuracy is exact whatever the padding and the number of devices.
    """

    def eval_step(params: Params, batch: Batch) -> dict[str, Array]:
        logits = _logits(apply, params, batch)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        count, found = logits.shape[-1], _classes(logits)
        confusion = jnp.zeros((count, count), jnp.int32)
        confusion = confusion.at[batch["label"], found].add(batch["mask"].astype(jnp.int32))
        sums = {"loss": jnp.where(batch["mask"], losses, 0).sum(), "confusion": confusion}
        return jax.lax.psum(sums, axis) if axis else sums

    return eval_step


def _advanced(state: TrainState, changes: TrainState, finite: Array) -> TrainState:
    unchanged = {name: state[name] for name in changes}
    kept = jax.tree.map(functools.partial(jnp.where, finite), changes, unchanged)
    skipped = jnp.where(finite, 0, state["skipped"] + 1)
    return {**kept, "step": state["step"] + 1, "skipped": skipped}


def _logits(apply: Apply, params: Params, batch: Batch, *key: PRNGKeyArray) -> Array:
    lengths = {"lengths": batch["length"]} if "length" in batch else {}
    return apply(params, batch["frames"], *key, **lengths).astype(jnp.float32)


def _divergence(teacher: Array, logits: Array) -> Array:
    """Mean Kullback-Leibler divergence of the classes from the teacher's."""
    told, found = (jax.nn.log_softmax(x.astype(jnp.float32)) for x in (teacher, logits))
    return optax.losses.kl_divergence_with_log_targets(found, told).mean()


def _classes(logits: Array) -> Array:
    return logits.argmax(-1).astype(jnp.int32)


def _mean(tree: Any, axis: str | None) -> Any:
    return jax.lax.pmean(tree, axis) if axis else tree


def _dropout_key(seed: int, step: Array, axis: str | None) -> PRNGKeyArray:
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.random.fold_in(key, jax.lax.axis_index(axis)) if axis else key
