"""What docs/export.md says is written of each family is written, and agrees with the flow; the rest is refused."""

import pytest
from export_matrix import WHAT, small, table, written

from flowkit import zoo
from flowkit.contract import ContractError
from flowkit.engines import engine
from flowkit.flow import export


def skip_without(format):
    try:
        export.require(format)
    except (ImportError, ValueError) as error:
        pytest.skip(str(error))


@pytest.mark.one_engine
def test_the_page_has_each_family_and_known_functions():
    for cells in table().values():
        assert cells.keys() == zoo.ARCHITECTURES.keys()
        assert all(set(cell) <= set(WHAT) for cell in cells.values())


@pytest.mark.parametrize("family", zoo.ARCHITECTURES)
@pytest.mark.two_engines
@pytest.mark.long
def test_what_the_page_says_of_a_family_is_written(family, perturb, tmp_path):
    skip_without("onnx")
    named = written(family, slow=False)
    if engine.name not in table() or not named:
        pytest.skip("the page says nothing of it")
    flow = small(family, perturb)
    for what in named:
        assert flow.export(tmp_path / f"{what}.onnx", what) < 1e-5


@pytest.mark.skipif(engine.name != "jax", reason="on PyTorch what is not written takes minutes to fail")
def test_what_the_page_leaves_out_is_refused_on_jax(perturb, tmp_path):
    skip_without("onnx")
    assert "log_prob" not in table()["jax"]["iaf"]
    with pytest.raises(ContractError, match=r"none, in 1 ways: .*Nothing was written"):
        small("iaf", perturb).export(tmp_path / "log_prob.onnx", "log_prob")


@pytest.mark.one_engine
@pytest.mark.long
def test_a_spline_that_all_rows_share_is_written_by_each_of_pytorchs_ways(perturb, tmp_path):
    if engine.name != "torch":
        pytest.skip("PyTorch's ways")
    flow = small("nsf", perturb)
    assert flow.export(tmp_path / "flow.pt2", "encode", "torch") < 1e-5
