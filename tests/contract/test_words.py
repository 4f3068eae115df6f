"""An unknown word is refused by name, with the words that exist, wherever a class or a family takes one."""

import inspect

import pytest
from test_numeric_arguments import ASKED, HANDED_OUT, NEEDED

pytestmark = pytest.mark.one_engine

# Words of any kind: a class that nobody makes by hand, and the names of callbacks' schedules.
FREE = {("Domain", "kind"), ("WarmUp", "name"), ("WarmUpCosine", "name")}


def words(make):
    return [
        name for name, given in inspect.signature(make).parameters.items() if isinstance(given.default, str)
    ]


@pytest.mark.parametrize("name", sorted(name for name in set(ASKED) - HANDED_OUT if words(ASKED[name])))
def test_an_unknown_word_is_refused_by_name(name):
    for parameter in words(ASKED[name]):
        if (name, parameter) not in FREE:
            with pytest.raises(ValueError, match="got 'no such word', expected") as caught:
                ASKED[name](**NEEDED.get(name, dict)() | {parameter: "no such word"})
            assert parameter in str(caught.value) or name == "OnColumns"
