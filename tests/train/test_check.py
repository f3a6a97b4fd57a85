"""What a user gets wrong ends before training, in one line that quotes it and names the remedy."""

import dataclasses
import errno
import json
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from ht_jax.train import DataConfig, ModelConfig, OptimizerConfig, UserError, train
from ht_jax.train.check import check, check_devices

BAD = [
    ({"steps": 0}, "steps is 0: pass --steps 1 or more"),
    ({"batch_size": -8}, "batch_size is -8: pass --batch-size 1 or more"),
    ({"seed": -1}, "seed is -1: pass --seed 0 or more"),
    ({"model": ModelConfig(hidden=0)}, "model.hidden is 0: pass --model.hidden 1 or more"),
    ({"model": ModelConfig(dropout=1.0)}, "model.dropout is 1.0: pass a share"),
    ({"model": ModelConfig(cell="rnn")}, "model.cell is 'rnn': choose one of lstm, gru, simple"),
    ({"model": ModelConfig(input="A()", joint="B()")}, "model.joint B() replaces both matrices"),
    ({"optimizer": OptimizerConfig(-1.0)}, "optimizer.learning_rate is -1.0: pass a positive"),
    ({"optimizer": OptimizerConfig(drop_factor=-1.0)}, "drop_factor is -1.0: pass a positive"),
    ({"model": ModelConfig(pixel_scale=float("nan"))}, "pixel_scale is nan: pass a positive"),
    ({"optimizer": OptimizerConfig(clip_norm=float("nan"))}, "clip_norm is nan"),
    ({"parallel": "tpu"}, "parallel is 'tpu': choose one of pmap, jit"),
]


def message_of(config, task=None):
    with pytest.raises(UserError) as caught:
        train(config, task) if task else check(config)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_value(toy, tmp_path, changes, message):
    assert message in message_of(toy.make_config(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_batch_that_does_not_divide():
    with pytest.raises(UserError, match=r"batch_size 30 does not divide over 4 devices: .* 28 or"):
        check_devices(30, 4)
    with pytest.raises(UserError, match=r"4 devices in 3 parts: pass --batch-size 24 or"):
        check_devices(32, 4, parts=3)
    check_devices(32, 4, parts=2)


def test_workdir_below_a_file(toy, tmp_path):
    (tmp_path / "file").write_text("")
    message = message_of(toy.make_config(tmp_path / "file" / "run"))
    assert "is a file, not a folder: choose another --workdir" in message


def test_read_only_workdir(toy, tmp_path, monkeypatch):
    # Root may write anywhere, so the file system's answer is played.
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    message = message_of(toy.make_config(tmp_path / "run"))
    told = f"{tmp_path} takes no files (Read-only file system): choose another --workdir"
    assert told in message


def test_workdir_that_refuses_after_all(toy, tmp_path, monkeypatch, experiments, capsys):
    from ht_jax.train import command

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    config = toy.make_config(tmp_path / "run")
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert command.run(lambda: train(config, toy.make_task(config))) == 2
    assert "error: [Errno 30] Read-only file system" in capsys.readouterr().err


def test_full_disk(toy, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 2**20))
    config = toy.make_config(tmp_path / "run")
    message = message_of(config, toy.make_task(config))
    assert "1 MiB free, but the checkpoints need 64 MiB: free some space" in message
    assert not (tmp_path / "run").exists()


def test_full_disk_is_told_before_the_data_is_prepared(toy, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 2**20))
    data = dataclasses.replace(DataConfig(), data_dir=tmp_path / "data")
    with pytest.raises(UserError, match="1 MiB free, but the checkpoints need 64 MiB"):
        train(toy.make_config(tmp_path / "run", data=data))
    assert not list(tmp_path.iterdir())


def store(config):
    from ht_jax.train.config import to_dict

    (config.workdir / "config.json").write_text(json.dumps(to_dict(config)))
    return config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 40}, "holds a run with steps=20, not 40: "),
        ({"batch_size": 4}, "or pass --batch-size 8"),
        ({"optimizer": OptimizerConfig(0.5, 4)}, "with optimizer.learning_rate=0.03, not 0.5"),
        ({"model": ModelConfig(joint="B()")}, "with model.joint=None, not 'B()'"),
    ],
)
def test_workdir_of_another_run(toy, tmp_path, changes, message):
    config = store(toy.make_config(tmp_path))
    assert message in message_of(dataclasses.replace(config, **changes))


def test_harmless_changes_resume(toy, tmp_path):
    config = store(toy.make_config(tmp_path))
    check(dataclasses.replace(config, quiet=True, log_every=1, eval_every=3, checkpoint_every=2))
    check(dataclasses.replace(config, parallel="jit", accumulate=2, max_skipped=3))


def test_resume_never_refuses_the_same_run(toy, tmp_path):
    config = store(toy.make_config(tmp_path))
    message = message_of(dataclasses.replace(config, resume="never"))
    assert "holds a run, and --resume is never: choose another" in message


def test_workdir_with_a_broken_config(toy, tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert "config.json is not a configuration" in message_of(toy.make_config(tmp_path))
