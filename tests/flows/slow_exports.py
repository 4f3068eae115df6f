"""What docs/export.md says takes minutes to write: `make check` asks it, `make test` does not."""

import pytest
from export_matrix import small, table, written

from flowkit.engines import engine


@pytest.mark.parametrize("family", table().get(engine.name, {}))
def test_what_takes_minutes_is_written(family, perturb, tmp_path):
    named = written(family, slow=True)
    if not named:
        pytest.skip("nothing of it takes minutes")
    for what in named:
        assert small(family, perturb).export(tmp_path / f"{what}.onnx", what) < 1e-5
