"""`flow.plot()` and what a notebook shows of a flow."""

import numpy as np
import pandas as pd
import pytest

from flowkit import Flow, bijectors, zoo
from flowkit.bijectors import Chain, Coupling
from flowkit.conditioners import MLP

pytestmark = pytest.mark.one_engine


def scale(columns):
    flow = Flow(bijectors.Scale(0.5))
    flow.build((None, columns))
    return flow


def test_two_columns_are_a_density_with_the_rows_on_it():
    figure = scale(2).plot(np.zeros((3, 2)))
    plane, bar = figure.axes
    density = plane.collections[0].get_array().reshape(100, 100)
    assert density.max() == pytest.approx(np.exp(2 * 0.5) / (2 * np.pi), rel=0.01)  # z = exp(0.5) x
    assert len(plane.lines[0].get_xdata()) == 3
    assert bar.get_ylabel() == "density"


def test_one_column_is_a_curve_and_more_are_pairs():
    (axes,) = scale(1).plot().axes
    x, y = axes.lines[0].get_data()
    assert np.trapezoid(np.ravel(y), np.ravel(x)) == pytest.approx(1, abs=0.02)
    assert len(scale(3).plot(samples=10).axes) == 9
    assert len(scale(8).plot(np.zeros((5, 8)), samples=10).axes) == 36


def test_a_frame_names_the_axes_and_bounded_columns_stay_in_their_domain():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"share": rng.uniform(0.1, 0.9, 64), "price": rng.lognormal(size=64)})
    flow = zoo.nsf(domains=[(0.0, 1.0), "positive"], layers=1, hidden=[8])
    flow.compile("adam")
    flow.fit(frame, epochs=1, verbose=0)
    plane, _ = flow.plot(frame).axes
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("share", "price")
    assert plane.get_xlim()[0] > 0


def test_a_conditional_flow_is_drawn_for_one_condition():
    flow = Flow(Chain([Coupling(MLP([4], context="required"))]))
    flow.build({"x": (None, 2), "context": (None, 3)})
    flow.plot(context=np.ones((1, 3)), samples=10)
    with pytest.raises(ValueError, match="context of 2 rows, expected one"):
        flow.plot(context=np.ones((2, 3)))


def test_images_are_a_grid_and_other_events_are_refused():
    flow = Flow(bijectors.Scale(0.5))
    flow.build((None, 4, 4, 1))
    assert len(flow.plot().axes) == 16
    series = Flow(bijectors.Scale(0.5))
    series.build((None, 4, 3))
    with pytest.raises(ValueError, match=r"events \(4, 3\), expected rows of columns or images"):
        series.plot()
    with pytest.raises(ValueError, match="expected to know the size of the data"):
        Flow(bijectors.Scale(0.5)).plot()


def test_a_notebook_shows_a_table_of_the_parts():
    flow = scale(2)
    assert "Scale(0.5)" in flow._repr_html_()
    assert "log_prob is exact" in flow._repr_html_()
    assert "Not built" in Flow(bijectors.Scale(0.5))._repr_html_()
