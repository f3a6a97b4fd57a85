"""Fine-tuning: stretches share the steps and the data, ranks move between them."""

import dataclasses

import pytest

from ht_jax.train.finetune import finetune


def _finetuned(toy, workdir, **options):
    config = toy.make_config(workdir, quiet=True, steps=8)
    task, seen = toy.make_task(config), []

    def train_batches(start):
        seen.append(start)
        return toy.make_task(config).train_batches(start)

    task = dataclasses.replace(task, train_batches=train_batches)
    model, summary = finetune(config, task, toy.make_model(0.0, seed=7), **options)
    return task, model, summary, seen


@pytest.mark.slow
def test_stretches_go_on_where_the_last_one_ended(toy, tmp_path):
    task, model, summary, seen = _finetuned(toy, tmp_path, stretches=2)
    assert seen == [0, 4]
    assert summary.steps == 4
    assert model.rnn.cell.joint.format.num_params <= task.model.rnn.cell.joint.format.num_params
    again, _ = finetune(
        toy.make_config(tmp_path, quiet=True, steps=8),
        task,
        toy.make_model(0.0, seed=7),
        stretches=2,
    )
    assert again.rnn.cell.joint.format == model.rnn.cell.joint.format


def test_the_manifold_is_an_option(toy, tmp_path):
    task, model, *_ = _finetuned(toy, tmp_path, riemannian=True)
    frame = model.rnn.cell.joint.cores["leaf_1"][...].reshape(-1, 2)
    assert abs(frame.T @ frame - [[1, 0], [0, 1]]).max() < 1e-5
    assert task.model is not model


def test_more_stretches_than_steps(toy, tmp_path):
    with pytest.raises(ValueError, match="9 stretches of 8 steps"):
        _finetuned(toy, tmp_path, stretches=9)
