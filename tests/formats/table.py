"""The one table of formats that drives every test of formats.

Each row has an oracle that shares nothing with the library: the cores' einsum written by hand,
evaluated by NumPy in float64, with padding and gates cut off by slicing.
"""

import dataclasses
import math

import numpy as np

import ht_jax as ht


@dataclasses.dataclass(frozen=True)
class Row:
    """A format with the einsum of its cores: operands in order, then inputs and outputs."""

    name: str
    fmt: ht.Format
    einsum: str  # terms as "core:indices", the result as "inputs,outputs"

    def kernel(self, cores) -> np.ndarray:
        """The dense kernel (in_features, out_features) of these cores."""
        terms, result = self.einsum.split(" -> ")
        names, indices = zip(*(term.split(":") for term in terms.split(" ")))
        inputs, outputs = result.split(",")
        arrays = [np.asarray(cores[name], np.float64) for name in names]
        full = np.einsum(f"{','.join(indices)}->{inputs}{outputs}", *arrays, optimize=True)
        rows = math.prod(full.shape[: len(inputs)])
        full = full.reshape(rows, self.fmt.gates, -1)
        kept = full[: self.fmt.in_features, :, : self.fmt.out_features // self.fmt.gates]
        return kept.reshape(self.fmt.in_features, self.fmt.out_features)


HT3 = "leaf_0:adx leaf_1:bey leaf_2:cfz node_0_1:wxy node_0_2:wz -> abc,def"
ROWS = (
    Row("dense", ht.Dense(60, 24), "kernel:ab -> a,b"),
    Row("ht", ht.HT((4, 5, 3), (2, 3, 4), leaf_rank=3, rank=4), HT3),
    Row("ht_padded", ht.HT((4, 5, 3), (2, 3, 4), rank=3, in_features=55, out_features=22), HT3),
    Row(
        "ht_linear",
        ht.HT((4, 5, 3), (2, 3, 4), rank=(3,), leaf_rank=(2, 4, 3), tree=(0, (1, 2))),
        "leaf_0:adx leaf_1:bey leaf_2:cfz node_1_2:wyz node_0_2:xw -> abc,def",
    ),
    Row(
        "ht_swapped",
        ht.HT((4, 5, 3), (2, 3, 4), rank=3, tree=((0, 2), 1)),
        "leaf_0:adx leaf_1:bey leaf_2:cfz node_0__2:wxz node_0_2:wy -> abc,def",
    ),
    Row("ht_single", ht.HT((60,), (24,), rank=1), "leaf_0:ab -> a,b"),
    Row("ht_of_ones", ht.HT((1, 60, 1), (24, 1, 1), rank=5, leaf_rank=(2, 4, 1)), HT3),
    Row("low_rank", ht.LowRank(60, 24, rank=3), "u:ar v:rb -> a,b"),
    Row(
        "tt",
        ht.TT((4, 5, 3), (2, 3, 4), rank=(3, 2)),
        "core_0:adx core_1:xbey core_2:ycf -> abc,def",
    ),
    Row(
        "tr",
        ht.TR((4, 5, 3), (6, 4), rank=2, closing_rank=3, in_features=55, out_features=22),
        "in_0:vaw in_1:wbx in_2:xcy out_0:ydz out_1:zev -> abc,de",
    ),
    Row(
        "bt",
        ht.BT((4, 5, 3), (2, 3, 4), rank=2, terms=3),
        "factor_0:nadx factor_1:nbey factor_2:ncfz core:nxyz -> abc,def",
    ),
    Row(
        "kcp",
        ht.KCP((4, 15), (6, 4), rank=2, terms=3, in_features=55),
        "a_in_0:kxa b_in_0:kyb a_in_1:kxc b_in_1:kyd "
        "a_out_0:kxe b_out_0:kyf a_out_1:kxg b_out_1:kyh -> abcd,efgh",
    ),
    Row(
        "cp",
        ht.CP((4, 5, 3), (6, 4), rank=3),
        "in_0:ar in_1:br in_2:cr out_0:dr out_1:er -> abc,de",
    ),
    Row(
        "tucker",
        ht.Tucker((4, 5, 3), (6, 4), rank=(2, 3, 2, 3, 2)),
        "in_0:av in_1:bw in_2:cx out_0:dy out_1:ez core:vwxyz -> abc,de",
    ),
)
