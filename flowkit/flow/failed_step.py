"""A training step that fails: its own error comes through, and the model keeps its weights."""

from typing import Any

import keras

from flowkit import backends


class FailedStep(keras.Model):
    """A model whose steps may fail, from an error in a layer to a device without memory.

    On JAX, Keras's `fit` would then fail once more, on the weights that it has handed to the step, and hide the
    error that matters. If the device had begun to write over the weights, they are lost: the next use says so.
    """

    _step_error: BaseException | None = None
    _weights_lost = False

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Keras's `fit`. Raises what the step raised."""
        self._step_error = None  # of an `evaluate` before, for example
        try:
            return super().fit(*args, **kwargs)
        except BaseException as raised:
            if self._step_error is None or self._step_error is raised:
                raise
            raise self._step_error from None
        finally:
            self._step_error = None
            backends.unshare(self)

    def make_train_function(self, force: bool = False) -> Any:
        self._make("train_function", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> Any:
        self._make("test_function", super().make_test_function, force)

    def make_predict_function(self, force: bool = False) -> Any:
        self._make("predict_function", super().make_predict_function, force)
        return self.predict_function

    def _make(self, name, make, force):
        before = getattr(self, name)
        make(force=force)
        made = getattr(self, name)
        if made is not before:
            made = self._around_training(made) if name == "train_function" else made
            # Outermost: what is done before a step may fail too.
            setattr(self, name, backends.giving_back(made, self))

    def _around_training(self, step):
        """`step`, Keras's function for training steps, with what is done before and after them."""
        return step
