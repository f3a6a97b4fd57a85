"""Citations: the BibTeX of the papers whose formats and cells a model uses.

Formats and cells name their papers, by keys of `papers.bib` or as entries of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources

from flax import nnx

from ht_jax.formats import HT, Format, Restricted
from ht_jax.nn import RecurrentCell, TensorDense, TensorEmbed
from ht_jax.summary import walk
from ht_jax.tensor import HTTensor


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
    return "\n\n".join(entries.get(key, key) for key in dict.fromkeys(_keys(model)))


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
        yield from HT.papers
    elif isinstance(model, Format):
        yield from _whole(model).papers
    elif isinstance(model, nnx.Module):
        modules = [module for _, module in walk(model)]
        yield from (key for m in modules if isinstance(m, RecurrentCell) for key in _of_cell(m))
        for module in modules:
            if isinstance(module, TensorDense | TensorEmbed):
                yield from _whole(module.format).papers
    else:
        raise TypeError(f"cite takes an nnx model, a format or an HTTensor, not {model!r}")


def _of_cell(cell: RecurrentCell) -> Iterator[str]:
    yield from cell.papers
    for layer in (cell.input, cell.recurrent, cell.joint):
        if layer is not None:
            fmt = _whole(layer.format)
            joint = fmt.joint_papers if layer is cell.joint else ()
            yield from joint or fmt.recurrent_papers


def _whole(fmt: Format) -> Format:
    """The format that `fmt` is a slice of."""
    return _whole(fmt.base) if isinstance(fmt, Restricted) else fmt
