"""What docs/export.md says takes minutes to write: `make check` asks it, `make test` does not."""

import pytest
from export_matrix import small, table, written

from flowkit.engines import engine

SLOW = [(family, what) for family in table().get(engine.name, {}) for what in written(family, slow=True)]


@pytest.mark.parametrize(("family", "what"), SLOW)
def test_what_takes_minutes_is_written(family, what, perturb, tmp_path):
    assert small(family, perturb).export(tmp_path / f"{what}.onnx", what) < 1e-5
