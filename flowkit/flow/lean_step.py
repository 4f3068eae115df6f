"""A training step with less around it than Keras's, on engines that run it eagerly."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from flowkit import backends
from flowkit.flow.drift import drift_reports
from flowkit.flow.failed_step import FailedStep


class LeanStep(FailedStep):
    """A model whose training steps look nothing up that stays as it is for an epoch.

    Values, callbacks and optimizers are Keras's. Weights may be frozen between epochs, not within one.
    """

    cuda_graph = False  # whether PyTorch records steps

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.looked_up = LookedUp()

    def reset_metrics(self) -> None:
        """Keras's; `fit` calls it when an epoch begins."""
        self.looked_up.weights = self.looked_up.metrics = None
        super().reset_metrics()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras's, which are looked up in all layers."""
        found = self.looked_up
        if not found.stands:
            return super().metrics
        if found.metrics is None:
            found.metrics = super().metrics
        return found.metrics

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Keras's. What the device still has to report is waited for at the end."""
        try:
            history = super().fit(*args, **kwargs)
        except BaseException:
            self._forget()
            raise
        self._look()
        return history

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Keras's. What the device still has to report is waited for."""
        self.looked_up.metrics = None  # `compile` makes new ones, and no epoch begins
        logs = super().train_on_batch(*args, **kwargs)
        if not self.cuda_graph:  # whose steps would run no faster than eager ones
            self._look()
        return logs

    @property
    def takes_stacks(self) -> bool:
        """Whether a step may be handed weights in stacks. A subclass's own expects Keras's lists."""
        return type(self).train_step is LeanStep.train_step

    def drift_reports(self) -> list[Callable[[float], None]]:
        """Whom to tell how inexactly reversible chains have found their inputs, in their order."""
        return drift_reports(self)

    def _around_training(self, step):
        # A step that is recorded is another function, and so is one that has drift to report.
        step = backends.around_steps(step, self)
        return backends.captured(step, self) if self.cuda_graph else step

    def _look(self):
        look = getattr(self.train_function, "look", None)
        if look is not None:
            look()

    def _forget(self):
        # Of a `fit` that failed the next one tells nothing.
        forget = getattr(self.train_function, "forget", None)
        if forget is not None:
            forget()

    def __setattr__(self, name, value):
        # What Keras holds between two steps on JAX: its tracker would look at each array after each step.
        if name == "_jax_state":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def _make_function(self, step, **options):
        # Keras's, for `steps_per_execution` steps of training or evaluation; with options, of `predict`.
        own = super()._make_function(step, **options)
        if options or self.steps_per_execution == 1:
            return own
        compiled = self.jit_compile and not self.run_eagerly
        at_once = compiled and keras.distribution.distribution() is None
        return backends.several_steps(own, step, self.steps_per_execution, at_once)

    def _get_regularization_losses(self):
        # Keras looks all weights up for it, in each step.
        found = self.looked_up
        return [] if found.stands and not found.regularized else super()._get_regularization_losses()

    def train_step(self, *given: Any) -> Any:
        """Keras's, or the same with less around it."""
        return backends.lean_train_step(self, super().train_step, *given)


class LookedUp:
    """The weights that are trained, and the metrics, in an object that Keras does not take for a part of the model."""

    weights = None
    metrics = None
    regularized = True  # whether one of them adds to the loss
    stands = False  # whether this is a step, in which all of this holds

    def of(self, model):
        """They themselves, looked up if that was not done yet."""
        if self.weights is None:
            self.weights = model.trainable_weights
            self.regularized = any(weight.regularizer is not None for weight in self.weights)
        return self.weights

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """A part of a step that has looked the weights up."""
        self.stands = True
        try:
            yield
        finally:
            self.stands = False
