"""The training loop: step, evaluate, checkpoint, report; the same call again resumes.

Validation is evaluated along the way, the test split once, with the final parameters, or never.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from ht_jax.files import write_json
from ht_jax.train.check import check, check_disk
from ht_jax.train.checkpoint import KEEP, Checkpoints
from ht_jax.train.clock import Clock
from ht_jax.train.config import TrainConfig, to_dict
from ht_jax.train.curve import plot_curve
from ht_jax.train.debugging import save_not_finite
from ht_jax.train.distributed import initialize
from ht_jax.train.errors import NotFinite, Stopped
from ht_jax.train.evaluation import Evaluation, evaluate
from ht_jax.train.lock import locked
from ht_jax.train.memory import give_back
from ht_jax.train.metrics import MetricsFile, read_metrics
from ht_jax.train.optimizer import make_optimizer, make_penalty
from ht_jax.train.parallel import Parallel, make_parallel
from ht_jax.train.progress import make_progress
from ht_jax.train.record import Recorder
from ht_jax.train.report import Summary, read_summary, summarize, write_summary
from ht_jax.train.schedules import settle
from ht_jax.train.step import TrainState, init_state, make_eval_step, make_train_step, split_model
from ht_jax.train.stopping import StopSignals
from ht_jax.train.table import print_summary
from ht_jax.train.task import Task, build_task, parse_formats


@dataclasses.dataclass(frozen=True, eq=False)
class Learner:
    """A task made ready for the devices: the compiled steps and the state before the first.

    Args:
        config: The configuration.
        task: What is learned.
        parallel: How batches reach the devices.
        train_step: `(state, batch) -> (state, metrics)`.
        eval_step: `(params, batch) -> sums`.
        state: The initial state, on the devices.
    """

    config: TrainConfig
    task: Task
    parallel: Parallel
    train_step: Callable[..., Any]
    eval_step: Callable[..., Any]
    state: TrainState

    def evaluate(self, state: TrainState, split: str) -> Evaluation:
        """Evaluates a state on one split."""
        batches = map(self.parallel.shard, self.task.eval_batches(split))
        return evaluate(self.eval_step, state["params"], batches, self.task.class_names)


def train(config: TrainConfig, task: Task | None = None) -> Summary:
    """Trains, or resumes, or repeats the report of a run that is finished.

    Args:
        config: The configuration; its workdir decides which of the three it is.
        task: What to learn; built from the configuration unless given.

    Returns:
        The summary, which also lies in the workdir.

    Raises:
        UserError: If a value in the configuration cannot be used.
        Stopped: If a signal asked to stop; everything is saved.

    Example:
        >>> from pathlib import Path
        >>> summary = train(TrainConfig(workdir=Path("runs/first"), steps=100))  # doctest: +SKIP
        >>> train(TrainConfig(steps=0))
        Traceback (most recent call last):
        ht_jax.train.errors.UserError: steps is 0: pass --steps 1 or more
    """
    initialize(config.distributed)
    check(config)
    if task is None:
        parse_formats(config.model)
    summary = read_summary(config.workdir / "summary.json")
    if summary is not None and (summary.test_accuracy is not None or not config.test):
        _say(f"{config.workdir} holds this run, finished after {summary.steps} steps")
    else:
        check_disk(config.workdir, 0, 0)  # a full disk is told before any data is prepared
        summary = _run(make_learner(config, task or build_task(config)))
    if _chief():
        print_summary(summary, title=str(config.workdir))
    return summary


def make_learner(config: TrainConfig, task: Task) -> Learner:
    """Compiles nothing yet, but fixes how a task will be learned.

    Args:
        config: The configuration.
        task: What is learned.

    Returns:
        The learner.
    """
    parallel = make_parallel(config.parallel)
    apply, params = split_model(task.model)
    optimizer = make_optimizer(config.optimizer, config.steps)
    optimizer = task.wrap(optimizer) if task.wrap else optimizer
    penalty = make_penalty(config.optimizer)
    train_step = make_train_step(
        apply, optimizer, config.seed, parallel.axis, penalty, config.accumulate
    )
    return Learner(
        config,
        task,
        parallel,
        parallel.compile_train(train_step),
        parallel.compile_eval(make_eval_step(apply, parallel.axis)),
        parallel.replicate(init_state(params, optimizer)),
    )


def _run(learner: Learner) -> Summary:
    config, workdir = learner.config, learner.config.workdir
    _make_workdir(learner)
    with locked(workdir, holds=_chief()):
        if _chief():
            write_json(workdir / "config.json", to_dict(config))
        settle(config, learner.task, _say)
        clock, results = _train(learner)
        summary = summarize(config, learner.task, clock, results)
        if _chief():
            plot_curve(workdir / "curve.png", read_metrics(workdir / "metrics.jsonl"), workdir.name)
            write_summary(workdir / "summary.json", summary)
    return summary


def _train(learner: Learner) -> tuple[Clock, dict[str, Any]]:
    config, workdir = learner.config, learner.config.workdir
    with Checkpoints(workdir, say=_say) as checkpoints:
        state, clock = _restore(learner, checkpoints)
        start = int(state["step"])
        frames = config.batch_size * learner.task.clip_shape[0]
        with (
            MetricsFile(workdir / "metrics.jsonl", start, writes=_chief()) as file,
            _progress(config, start) as progress,
        ):
            recorder = Recorder(file, progress, clock, frames, config.max_skipped)
            state = _fit(learner, state, recorder, checkpoints)
            return clock, _results(learner, state, recorder)


def _fit(
    learner: Learner, state: TrainState, recorder: Recorder, checkpoints: Checkpoints
) -> TrainState:
    config, start = learner.config, int(state["step"])
    batches = learner.task.train_batches(start)
    recorder.clock.start()
    with StopSignals() as signals:
        for step in range(start + 1, config.steps + 1):
            state, metrics = learner.train_step(state, learner.parallel.shard(next(batches)))
            try:
                recorder.step(step, metrics, compiles=step == start + 1)
                _pause(learner, step, state, recorder, checkpoints, stops=signals.asked(step))
            except NotFinite as error:
                save_not_finite(config.workdir, learner.task, state, error)
                raise
    return state


def _pause(
    learner: Learner,
    step: int,
    state: TrainState,
    recorder: Recorder,
    checkpoints: Checkpoints,
    *,
    stops: bool,
) -> None:
    config, last = learner.config, step == learner.config.steps
    evaluates = step % config.eval_every == 0 and not last  # the final evaluation reports too
    saves = stops or step % config.checkpoint_every == 0 or last
    if not (evaluates or saves):
        return
    # All metrics up to here are on the disk before the checkpoint is: resuming loses none.
    recorder.catch_up()
    recorder.clock.lap()
    if evaluates:
        recorder.evaluation(step, "validation", learner.evaluate(state, "validation"))
    if saves:
        checkpoints.save(state, recorder.clock.reading())
    if stops and not last:
        raise Stopped(f"stopped after step {step}, saved: the same command resumes")
    give_back()
    recorder.clock.start()


def _results(learner: Learner, state: TrainState, recorder: Recorder) -> dict[str, Any]:
    def measured(split: str) -> Evaluation:
        recorder.evaluation(learner.config.steps, split, found := learner.evaluate(state, split))
        return found

    validation = measured("validation")
    test = measured("test") if learner.config.test else None
    return {
        "test_accuracy": test and test.accuracy,
        "test_loss": test and test.loss,
        "validation_accuracy": validation.accuracy,
    }


def _restore(learner: Learner, checkpoints: Checkpoints) -> tuple[TrainState, Clock]:
    restored = checkpoints.restore(learner.state)
    if restored is None:
        return learner.state, Clock()
    state, reading = restored
    if not learner.config.quiet:
        _say(f"resuming {learner.config.workdir} from step {int(state['step'])}")
    return learner.parallel.replicate(state), Clock(**reading)


def _make_workdir(learner: Learner) -> None:
    workdir = learner.config.workdir
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(learner.state))
    # A new run comes to hold the kept checkpoints and the one being written; an old one has them.
    check_disk(workdir, state_bytes, copies=1 if (workdir / "config.json").exists() else KEEP + 1)
    workdir.mkdir(parents=True, exist_ok=True)


def _progress(config: TrainConfig, start: int) -> Any:
    return make_progress(
        steps=config.steps,
        start=start,
        every=config.log_every,
        quiet=config.quiet,
        speaks=_chief(),
    )


def _say(text: str) -> None:
    if _chief():
        print(text, flush=True)


def _chief() -> bool:
    return jax.process_index() == 0
