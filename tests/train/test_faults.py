"""What can break around a run, broken on purpose: each fault ends as documented."""

import itertools
import resource
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from ht_jax.train import UserError, command, train
from ht_jax.train.checkpoint import Checkpoints
from ht_jax.train.lock import locked
from ht_jax.train.metrics import read_metrics

STATES = {step: {"w": np.arange(6.0) + step, "step": np.int32(step)} for step in (5, 10)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("saved")
    with Checkpoints(workdir) as checkpoints:
        for step, state in STATES.items():
            checkpoints.save(state, {"seconds": step / 10})
    return workdir


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def restore(workdir, **options):
    said = []
    with Checkpoints(workdir, say=said.append, **options) as checkpoints:
        return checkpoints.restore(STATES[10]), said


def files(folder):
    return [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink()])
def test_damage_to_any_file_gives_the_same_state_or_the_one_before(saved, tmp_path, damage):
    for number, name in enumerate(files(saved / "checkpoints" / "10")):
        workdir = shutil.copytree(saved, tmp_path / str(number))
        damage(workdir / "checkpoints" / "10" / name)
        (state, meta), said = restore(workdir)
        step = int(state["step"])
        jax.tree.map(np.testing.assert_array_equal, state, STATES[step])
        assert meta == {"seconds": step / 10}
        assert step == 10 or said[0].startswith("the checkpoint of step 10 is damaged and passed")


def spoil(workdir, *steps):
    for step in steps:
        flip(next((workdir / "checkpoints" / str(step) / "state" / "d").iterdir()))


def test_damaged_checkpoint_is_moved_aside_unless_only_reading(saved, tmp_path):
    workdir = shutil.copytree(saved, tmp_path / "copy")
    spoil(workdir, 10)
    before = files(workdir)
    restore(workdir, read_only=True)
    assert files(workdir) == before
    restore(workdir)
    assert len(list(workdir.glob("damaged_10.*/state"))) == 1
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.steps == [5]
        checkpoints.save(STATES[10], {})
    assert int(restore(workdir)[0][0]["step"]) == 10


def test_nothing_but_damaged_checkpoints(saved, tmp_path):
    workdir = shutil.copytree(saved, tmp_path / "copy")
    spoil(workdir, 5, 10)
    with pytest.raises(UserError, match=r"no checkpoint in .* can be read \(that of step 10: "):
        restore(workdir)
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["10", "5"]


@pytest.mark.slow
def test_run_falls_back_to_the_previous_checkpoint(
    toy, undisturbed, assert_same_run, tmp_path, capsys
):
    workdir = shutil.copytree(undisturbed, tmp_path / "copy")
    (workdir / "summary.json").unlink()
    spoil(workdir, 20)
    config = toy.make_config(workdir)
    train(config, toy.make_task(config, dropout=0.2))
    output = capsys.readouterr().out
    assert "the checkpoint of step 20 is damaged and passed over: state/" in output
    assert f"resuming {workdir} from step 15" in output
    assert_same_run(undisturbed, workdir)


def test_two_runs_on_one_workdir(toy, tmp_path):
    config = toy.make_config(tmp_path, quiet=True)
    with locked(tmp_path), pytest.raises(UserError) as caught:
        train(config, toy.make_task(config))
    assert f"workdir {tmp_path} is in use by process " in str(caught.value)
    assert not (tmp_path / "config.json").exists()
    with locked(tmp_path):
        pass


@pytest.fixture
def compiled_anew():
    """No cache of compiled programs, which would be written to the full disk too."""
    folder = jax.config.jax_compilation_cache_dir
    for each in (None, folder):
        jax.config.update("jax_compilation_cache_dir", each)
        compilation_cache.reset_cache()
        if each is None:
            yield


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_anew")
def test_disk_that_refuses_a_checkpoint(
    toy, undisturbed, assert_same_run, tmp_path, capsys, caplog
):
    config, limits = (
        toy.make_config(tmp_path, quiet=True),
        resource.getrlimit(resource.RLIMIT_FSIZE),
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))  # stands in for a full disk
    try:
        status = command.run(lambda: train(config, toy.make_task(config, dropout=0.2)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: a checkpoint cannot be written to {tmp_path}")
    assert errors.count("\n") == 1
    assert not caplog.records
    train(config, toy.make_task(config, dropout=0.2))
    assert_same_run(undisturbed, tmp_path)


@pytest.mark.slow
def test_clock_that_goes_backwards(toy, undisturbed, assert_same_run, tmp_path, monkeypatch):
    now, back = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: now - next(back))
    config = toy.make_config(tmp_path, quiet=True)
    summary = train(config, toy.make_task(config, dropout=0.2))
    assert summary.seconds > 0
    assert_same_run(undisturbed, tmp_path)


def test_metrics_cut_short_in_the_middle(tmp_path):
    whole = '{"step": 1, "split": "train", "loss": 0.5}\n'
    (tmp_path / "metrics.jsonl").write_text(whole + '{"step": 2, "spl\n[3]\n\x00\n' + '{"step": 4')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "split": "train", "loss": 0.5}]


def test_broken_source_ends_the_run(toy, tmp_path, capsys):
    def vanish():
        raise OSError("clips-00003-of-00008 is gone")

    config = toy.make_config(tmp_path, quiet=True)
    assert command.run(lambda: train(config, toy.make_task(config, die_at=1, how=vanish))) == 2
    assert capsys.readouterr().err == "error: clips-00003-of-00008 is gone\n"


def test_state_of_jax_arrays_is_what_is_restored(tmp_path):
    state = {"w": jnp.ones((2, 3), jnp.bfloat16), "step": jnp.int32(1)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, {})
        restored, _ = checkpoints.restore(state)
    assert restored["w"].dtype == jnp.bfloat16
