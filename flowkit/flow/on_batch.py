"""What a flow does with one batch that it is handed: train, score, answer."""

import math
from typing import Any

from flowkit.engines import engine
from flowkit.flow.before_training import check_training, refuse_class_weight
from flowkit.flow.context import refuse_unread
from flowkit.flow.inputs import ready_on, to_score_on, unpack
from flowkit.flow.training import Training
from flowkit.flow.turns import alone
from flowkit.flow.without_data import refuse_data


class OnBatch(Training):
    """The part of `flowkit.Flow` with Keras's methods for one batch.

    Keras checks nothing there, and a traced step cannot ask whether the flow is adapted.
    """

    @alone
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
        *,
        context: Any = None,
    ) -> Any:
        """Keras's `train_on_batch`, with `context=`; `x` and `y` are those of `fit`.

        Raises ContractError for a flow that still waits for `adapt`, and for a context that it does not read.
        """
        refuse_class_weight("train_on_batch", class_weight)
        check_training(self)
        refuse_data(self, "train_on_batch", {"x": x})
        x, context = unpack(x) if isinstance(x, dict) else (x, context)
        refuse_unread(self, context)
        x, y = to_score_on(self, x, y, context, sample_weight)
        logs = super().train_on_batch(ready_on(self, x, math.inf), y, sample_weight, return_dict=return_dict)
        engine.after_fit(self)
        return logs

    @alone
    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
        *,
        context: Any = None,
    ) -> Any:
        """Keras's `test_on_batch`, with `context=`; `x` and `y` are those of `fit`.

        Raises ContractError for a flow that still waits for `adapt`.
        """
        x, y = to_score_on(self, x, y, context, sample_weight)
        with self._scoring_all():
            return super().test_on_batch(
                ready_on(self, x, math.inf), y, sample_weight, return_dict=return_dict
            )

    @alone
    def predict_on_batch(self, x: Any) -> Any:
        """Keras's `predict_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().predict_on_batch(ready_on(self, x, math.inf))
