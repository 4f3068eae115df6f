"""ContractError: one line, with its parts as attributes."""

import pickle

import pytest

from flowkit.bijectors import Squeeze
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine


def test_the_message_names_everything():
    layer = Squeeze(name="halve")
    error = ContractError("event shape", layer, expected="an even height", received="7", hint="Pad it.")
    assert str(error) == "Squeeze 'halve' broke 'event shape': expected an even height, received 7. Pad it."
    assert (error.clause, error.bijector, error.expected, error.received, error.hint) == (
        "event shape",
        layer,
        "an even height",
        "7",
        "Pad it.",
    )


def test_it_travels_between_processes():
    """Test runners and data loaders send errors through pickle."""
    error = ContractError("x", "mine", expected="a", received="b", hint="c")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.clause == "x"
