"""The presets of the papers: one for every row, of the published size, trained as published."""

import pytest

from ht_jax.train import DataConfig
from ht_jax.train.check import check_values
from ht_jax.train.task import parse_formats

PARAMS = {
    "ucf11_tt_lstm": 3_360,
    "ucf11_tt_gru": 3_232,
    "ytc_tt_lstm": 3_392,
    "ytc_tt_gru": 3_328,
    "ucf11_bt_lstm": 3_392,
    "ucf11_tr_lstm": 1_725,
    "ucf11_ht_lstm": 1_245,
    "ytc_ht_lstm": 810,
    "ucf11_kcp_lstm": 212,
    "ytc_kcp_lstm": 212,
    "ucf50_kcp_lstm": 212,
    "ucf11_cnn_tr_lstm": 663_552,
    "hmdb51_cnn_tr_lstm": 663_552,
    "ucf11_cnn_fdht_lstm": 3_132,
    "hmdb51_cnn_fdht_lstm": 3_132,
}
DENSE = ["ucf11_lstm", "ytc_lstm", "ucf11_cnn_lstm", "hmdb51_cnn_lstm"]
OURS = ["ucf11_cnn_ht_lstm", "hmdb51_cnn_ht_lstm"]


@pytest.fixture
def presets(experiments):
    from configs import PRESETS

    return {name: config for name, (_, config) in PRESETS.items()}


def test_every_row_has_a_preset_of_the_published_size(presets):
    assert {*PARAMS, *DENSE, *OURS} <= presets.keys()
    for name, params in PARAMS.items():
        config = presets[name]
        (fmt,) = parse_formats(config.model).values()
        gates = 3 if config.model.cell == "gru" else 4
        assert fmt.with_gates(gates).num_params == params, name
        assert fmt.out_features == config.model.hidden
    assert all(not parse_formats(presets[name].model) for name in DENSE)


def test_presets_can_be_trained(presets):
    for config in presets.values():
        check_values(config)
        assert config.workdir.parts[0] == "runs"
    assert len({config.workdir for config in presets.values()}) == len(presets)


def test_published_recipes(presets):
    tt = presets["ytc_tt_lstm"]
    assert (tt.optimizer.learning_rate, tt.optimizer.classifier_l2) == (1e-3, 1e-2)
    assert (tt.model.dropout, tt.model.recurrent_dropout, tt.batch_size) == (0.25, 0.25, 16)
    assert tt.data.protocol == "random_5fold"
    bt = presets["ucf11_bt_lstm"]
    assert (bt.optimizer.schedule, bt.optimizer.decay) == ("inverse", 1.667e-4)
    assert bt.steps == 500 * 72  # 1,152 of 1,600 clips, 16 at once
    assert bt.data == DataConfig("ucf11", num_frames=6, protocol="holdout_80_20")
    tr = presets["hmdb51_cnn_tr_lstm"]
    assert (tr.optimizer.drop_factor, tr.optimizer.weight_decay) == (0.2, 1.667e-4)
    assert tr.steps == 3 * tr.optimizer.drop_every
    assert (tr.data.cnn, tr.data.protocol, tr.model.hidden) == ("inception_v3", "official", 2048)


def test_data_folder_has_a_short_name(experiments):
    from configs import parse

    config = parse(["ucf11_ht_lstm", "--data-dir", "somewhere"])
    assert str(config.data.data_dir) == "somewhere"
