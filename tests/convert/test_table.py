"""docs/conversions.md is what trying every option of every class shows."""

import importlib.util

import pytest

from tests.convert.sources import LIBRARIES, NEEDED
from tests.convert.table import HEAD, PAGE, section

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Keras's, of x64
]


def _needed(library):
    name = NEEDED.get(library)
    if name and importlib.util.find_spec(name) is None:
        pytest.skip(f"{library} is not installed")


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_option_is_exact_or_refused_as_the_page_says(library):
    _needed(library)
    page = PAGE.read_text(encoding="utf-8")
    assert page.startswith(HEAD)
    assert section(library) in page, "python -m tests.convert.table writes the page anew"


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_option_of_a_constructor_is_left_out(library):
    _needed(library)
    for source in LIBRARIES[library]():
        assert source.known <= set(source.values), source.name
