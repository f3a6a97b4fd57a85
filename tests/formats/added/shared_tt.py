"""A tensor train whose inner cores are one: what somebody outside the library would write."""

import dataclasses

import ht_jax as ht


@dataclasses.dataclass(frozen=True, repr=False)
class SharedTT(ht.ModeFormat):
    """A tensor train over modes of which the inner ones are alike and share one core."""

    rank: int = 2
    papers = ("oseledets2011",)

    def __post_init__(self):
        super().__post_init__()
        if len(self.in_modes) != len(self.out_modes):
            raise ValueError(f"in_modes {self.in_modes} and out_modes {self.out_modes} must pair")
        if len({*zip(self.in_modes[1:-1], self.out_modes[1:-1])}) > 1:
            raise ValueError(f"the inner modes of {self.in_modes} must be alike to share a core")

    def network(self):
        count = len(self.in_modes)
        size, operands = {}, {}
        for k, (m, n) in enumerate(zip(self.in_modes, self.out_modes)):
            size |= {f"i{k}": m, f"o{k}": n, f"r{k}": self.rank}
            bonds = [f"r{k - 1}"] * (k > 0), [f"r{k}"] * (k < count - 1)
            operands[f"core_{k}"] = (*bonds[0], f"i{k}", f"o{k}", *bonds[1])
        shared = {f"core_{k}": "core_1" for k in range(2, count - 1)}
        ins, outs = ([f"{side}{k}" for k in range(count)] for side in "io")
        return ht.TensorNetwork.of(operands, size, ins, outs, shared=shared)
