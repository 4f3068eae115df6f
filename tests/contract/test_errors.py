"""ContractError: one line, with its parts as attributes."""

import pickle

import pytest

from flowkit.bijectors import Squeeze
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine


def test_the_message_names_everything_and_travels_between_processes():
    """Test runners and data loaders send errors through pickle."""
    parts = {"expected": "an even height", "received": "7", "hint": "Pad it."}
    error = ContractError("event shape", Squeeze(name="halve"), **parts)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert str(one) == "Squeeze 'halve' broke 'event shape': expected an even height, received 7. Pad it."
        assert {name: getattr(one, name) for name in parts} == parts
        assert one.clause == "event shape"
