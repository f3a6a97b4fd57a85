"""Citations: the BibTeX of the papers whose formats and cells a model uses.

The entries stand in `papers.bib`; here is only which of them a format or a cell calls for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources

from flax import nnx

from ht_jax.formats import BT, CP, HT, KCP, TR, TT, Format, Restricted, Tucker
from ht_jax.nn import GRUCell, LSTMCell, RecurrentCell, SimpleCell, TensorDense, TensorEmbed
from ht_jax.summary import walk
from ht_jax.tensor import HTTensor

HT_PAPERS = ("grasedyck2010", "kressner2014")
# The papers of a format, and those of the recurrent networks that hold their matrices in it.
OF_FORMAT: dict[type[Format], tuple[str, ...]] = {
    HT: HT_PAPERS,
    TT: ("oseledets2011",),
    TR: ("zhao2016",),
    BT: ("delathauwer2008",),
    KCP: ("wang2023kcp",),
    CP: ("kolda2009",),
    Tucker: ("kolda2009",),
}
OF_NETWORK: dict[type[Format], str] = {
    **{HT: "yin2020ht", TT: "yang2017tt", TR: "pan2019tr"},
    **{BT: "ye2018bt", KCP: "wang2023kcp"},
}
OF_CELL: dict[type[RecurrentCell], str] = {
    LSTMCell: "hochreiter1997",
    GRUCell: "cho2014",
    SimpleCell: "elman1990",
}


def cite(model: nnx.Module | Format | HTTensor) -> str:
    """The BibTeX of the papers that a model, a format or a tensor is an implementation of.

    Args:
        model: an nnx model with layers of this library, one of its formats, or an `HTTensor`.

    Returns:
        BibTeX entries, each once: those of the cells, of the compressed recurrent networks, and
        of the formats. Empty if there is nothing of this library in it.

    Raises:
        TypeError: anything else.

    Example:
        >>> import ht_jax as ht
        >>> from flax import nnx
        >>> fmt = ht.TT((8, 6), (4, 4), rank=2)
        >>> print(cite(ht.nn.GRUCell(48, 16, input=fmt, rngs=nnx.Rngs(0))))
        @inproceedings{cho2014,
        ...
        @inproceedings{yang2017tt,
        ...
        @article{oseledets2011,
        ...
    """
    entries = papers()
    return "\n\n".join(entries[key] for key in dict.fromkeys(_keys(model)))


def papers() -> dict[str, str]:
    """All BibTeX entries of `papers.bib`, by key.

    Example:
        >>> print(papers()["yin2020ht"].splitlines()[0])
        @article{yin2020ht,
    """
    text = resources.files("ht_jax").joinpath("papers.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {re.sub(r"@\w+\{([^,]+),.*", r"\1", e, flags=re.DOTALL): e for e in entries}


def _keys(model: nnx.Module | Format | HTTensor) -> Iterator[str]:
    if isinstance(model, HTTensor):
        yield from HT_PAPERS
    elif isinstance(model, Format):
        yield from _of_format(model)
    elif isinstance(model, nnx.Module):
        modules = [module for _, module in walk(model)]
        yield from (key for m in modules if isinstance(m, RecurrentCell) for key in _of_cell(m))
        for module in modules:
            if isinstance(module, TensorDense | TensorEmbed):
                yield from _of_format(module.format)
    else:
        raise TypeError(f"cite takes an nnx model, a format or an HTTensor, not {model!r}")


def _of_cell(cell: RecurrentCell) -> Iterator[str]:
    yield from (key for kind, key in OF_CELL.items() if isinstance(cell, kind))
    for layer in (cell.input, cell.recurrent, cell.joint):
        fmt = None if layer is None else _whole(layer.format)
        if isinstance(fmt, HT) and layer is cell.joint:
            yield "yin2021fdht"
        elif fmt is not None and type(fmt) in OF_NETWORK:
            yield OF_NETWORK[type(fmt)]


def _of_format(fmt: Format) -> tuple[str, ...]:
    return OF_FORMAT.get(type(_whole(fmt)), ())


def _whole(fmt: Format) -> Format:
    """The format that `fmt` is a slice of."""
    return _whole(fmt.base) if isinstance(fmt, Restricted) else fmt
