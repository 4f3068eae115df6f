"""A flow whose latents are also trained to tell the class of what they encode."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners import ScaledDense
from flowkit.contract import Bijector, ContractError, Shape, Tensor
from flowkit.contract.arguments import Count, Positive, checked
from flowkit.contract.shapes import event_size
from flowkit.flow import inputs, packing
from flowkit.flow.flow import Flow
from flowkit.flow.model import locked
from flowkit.flow.rows import run_rows
from flowkit.flow.scoring import MeanOfCounted, what_counts


@keras.saving.register_keras_serializable("flowkit")
class LabelledFlow(Flow):
    """loss = bits_x + label_weight * bits_y: a `Flow` with a classifier of its latents.

    bits_x are bits per dimension, bits_y = -log2 p(label | features), and p(label | features) is the softmax
    of one dense layer, zero at the start. Features are the mean over all places of the last scale's output,
    before its prior, for a multi-scale flow; of the latents for any other. As for `Flow`, the loss is in
    nats for an event of D entries: D ln 2 times the one above. Densities, samples and latents are
    those of the `Flow` without it.

    The context is integer labels (batch,), needed to fit; the flow itself may be class-conditional or not.
    Called on data it returns `{"log_prob": (batch,), "logits": (batch, num_classes)}`. Metrics besides
    `Flow`'s: `label_bits`, the mean of bits_y, and `label_error`, the share of labels that are missed.

    - `num_classes`: None takes it from a class-conditional bijector.
    - `label_weight`: 0.01 in the published runs.

    Raises ValueError if the number of classes is missing or is not the bijector's, if the weight is not
    positive, and for a bijector whose features depend on the label that they are to tell.

    Kingma & Dhariwal, Glow (2018), section 5 and the published code's `weight_y`.

    >>> from flowkit.bijectors import Scale
    >>> flow = LabelledFlow(Scale(0.0), num_classes=4)
    >>> flow.build((None, 2))
    >>> np.exp(flow.label_log_prob(np.zeros((1, 2)))).round(4).tolist()  # before any training
    [[0.25, 0.25, 0.25, 0.25]]
    """

    context = "optional"  # that of the bijector if it is more

    @checked
    def __init__(
        self,
        bijector: Bijector,
        base: keras.Layer | None = None,
        *,
        num_classes: Count | None = None,
        label_weight: Positive = 0.01,
        dequantize: keras.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(bijector, base, dequantize=dequantize, **kwargs)
        known = super().num_classes
        num_classes = known if num_classes is None else num_classes
        if num_classes is None or num_classes != (known or num_classes):
            expected = "the number of classes" if known is None else f"the bijector's {known}"
            raise ValueError(f"LabelledFlow's num_classes: got {num_classes}, expected {expected}.")
        before, self._levels = bijector.split_levels()
        scales = self._levels.scales if self._levels else []
        if any(part.spec.context != "none" for part in (*before, *scales)):
            raise ValueError(
                "LabelledFlow: got a bijector that reads the context, expected latents that do not depend on it, since "
                "it is the label to predict. Condition the top prior alone."
            )
        self._classes, self.label_weight = num_classes, label_weight
        self.classifier = ScaledDense(self._classes, dtype=self.compute_dtype, name="classifier")
        self.label_bits = MeanOfCounted(name="label_bits")
        self.label_error = MeanOfCounted(name="label_error")

    @property
    def num_classes(self) -> int | None:
        return self._classes

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        top = self._levels.latent_events[-1] if self._levels else self.latent_shape
        self.classifier.build((None, top[-1]))

    def _scores(self, z, log_prob, context):
        return {"log_prob": log_prob, "logits": self._logits(z, context)}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch = packing.unpack(input_shape)[0][0]
        return {"log_prob": (batch,), "logits": (batch, self.num_classes)}

    def _loss_per_row(self, x, y_pred):
        """Return -log_prob + label_weight * D * -log p(label | features), in nats, (batch,)."""
        data, _ = packing.unpack(x)
        self.has_other_losses = True
        of_labels = self.label_weight * event_size(data.shape) * self._surprise(x, y_pred["logits"])
        return of_labels - y_pred["log_prob"]

    def compute_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> dict[str, Any]:
        _, labels = packing.unpack(x)
        surprise = self._surprise(x, y_pred["logits"])
        told = ops.cast(ops.argmax(y_pred["logits"], axis=-1), "int32")
        missed = ops.not_equal(told, ops.cast(labels, "int32"))
        counts, weight = what_counts(self, surprise, sample_weight)
        bits = ops.where(counts, surprise, ops.zeros_like(surprise)) / np.log(2).item()
        self.label_bits.update_state(bits, sample_weight=weight)
        self.label_error.update_state(ops.cast(missed, surprise.dtype), sample_weight=weight)
        return super().compute_metrics(x, y, y_pred["log_prob"], sample_weight)

    @locked
    def label_log_prob(self, x: Tensor, *, batch_size: int | None = None, seed: int = 0) -> np.ndarray:
        """Return log p(class | features of x) in nats, numpy (n, num_classes). `argmax(-1)` is the class.

        Noise follows from `seed`, as in `log_prob`.
        """
        # A prior that is conditioned on a class is undone again, and the base is not needed: any class will do.
        x, context = inputs.checked_and_embedded(self, x, np.zeros(len(x), "int32"), batch_size)
        return run_rows(self, self._classify, x, context, stored="noise", batch_size=batch_size, seed=seed)

    def _classify(self, y, context, noise=None):
        return ops.log_softmax(self._logits(self._to_latents(y, context, noise), context), axis=-1)

    def _logits(self, z, context):
        if self._levels:
            z = self._levels.before_top_prior(z, context)
        places = tuple(range(1, len(z.shape) - 1))
        return self.classifier(ops.mean(z, axis=places) if places else z)

    def _surprise(self, x, logits):
        """Return -log p(label | features) in nats, (batch,)."""
        _, labels = packing.unpack(x)
        if labels is None:
            expected = "integer labels (batch,) to train and to evaluate the classifier with"
            raise ContractError("context", self, expected=expected, received="none")
        log_prob = ops.log_softmax(logits, axis=-1)
        return -ops.take_along_axis(log_prob, ops.cast(labels, "int32")[:, None], axis=-1)[:, 0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "label_weight": self.label_weight}
