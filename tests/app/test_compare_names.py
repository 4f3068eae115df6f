"""Names of runs in the picture of `flowkit compare`, however long."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from flowkit.app import compare
from flowkit.app.images import Images
from flowkit.app.tables import Tables


@pytest.mark.parametrize("kind", [Images(), Tables()])
def test_long_names_neither_overlap_nor_leave_the_picture(kind, tmp_path):
    Image.fromarray(np.zeros((40, 40), "uint8")).save(tmp_path / "samples.png")
    (tmp_path / "log.csv").write_text(f"epoch,{kind.logged}\n1,3.0\n2,2.0\n")
    folder = SimpleNamespace(
        samples=tmp_path / "samples.png", pairs=tmp_path / "none", log=tmp_path / "log.csv"
    )
    names = [f"runs/{'abcdefghij' * 15}-{number}" for number in range(6)]
    figure = compare.drawn([folder] * len(names), names, kind)
    figure.draw_without_rendering()
    titles = [axes.title.get_window_extent() for axes in figure.axes[1:]]
    assert len(titles) == len(names)
    for number, title in enumerate(titles):
        assert not any(title.overlaps(other) for other in titles[:number])
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.x1
    legend = figure.axes[0].get_legend().get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1
