"""The rules by which flows are drawn: public parts, networks and bases, composed as the contract allows.

Each public class has an entry, or a reason in `EXCLUDED`.
"""

import math
from collections.abc import Callable

import hypothesis.strategies as st
import keras

from flowkit import bijectors as b
from flowkit import conditioners as c
from flowkit import data as d
from flowkit import distributions as p
from flowkit import surjections as s
from flowkit import transforms as t
from flowkit.contract import Domain
from flowkit.flow import Flow
from flowkit.testing.places import (
    REAL,
    Expression,
    Here,
    alike,
    anywhere,
    even,
    finite,
    image,
    intervals,
    real,
    several,
    vector,
)
from flowkit.testing.subject import Subject

CLASSES, SIZE = 3, 2  # of contexts: how many labels, or the length of a vector
UNIT, CIRCLE = Domain.UNIT_INTERVAL, Domain.CIRCLE
ANGLES, LEVELS = (-math.pi, math.pi), Domain.interval(-0.75, 0.75)  # that of 4 levels of Equalize

EXCLUDED = {
    **dict.fromkeys(("Elementwise", "Transform", "Solved", "StraightTails"), "a base class"),
    **dict.fromkeys(("Distribution", "LocationScale"), "a base class"),
    **dict.fromkeys(("ObservedContext", "RandomSizes"), "a layer before the network of a posterior's data"),
    "GatedConvNet": "an embedding of whole images, which tests of GatedAttention cover",
}
"""Public classes that are not drawn, and why."""


TRANSFORMS = {
    REAL: [
        Expression(t.Affine, "tanh"),
        Expression(t.Additive),
        Expression(t.Affine),
        Expression(t.Affine, min_scale=0.25),
        Expression(t.Affine, order="scale-shift"),
        Expression(t.Affine, "sigmoid2"),
        Expression(t.Affine, "tanh", bound=1.0),
        Expression(t.ScaleShift),
        Expression(t.ScaleShift, "softplus"),
        Expression(t.ScaleShift, "sigmoid"),
        Expression(t.Gaussian),
        Expression(t.Gaussian, min_scale=0.25),
        Expression(t.RationalQuadratic, 3),
        Expression(t.RationalQuadratic, 3, tails="affine"),
        Expression(t.QuadraticSpline, 3),
        Expression(t.QuadraticSpline, 3, tails="affine"),
        Expression(t.SoftClippedSpline, 3),
        Expression(t.LinearSpline, 3, bound=3.0),
        Expression(t.Bernstein, 4),
        Expression(t.SumOfSquares, 2, degree=2),
        Expression(t.MixtureOfLogistics, 2),
        Expression(t.SigmoidMixture, 2),
        Expression(t.UnconstrainedMonotone, 2, nodes=5),
    ],
    UNIT: [Expression(t.LinearSpline, 3)],
    CIRCLE: [Expression(t.CircularRationalQuadratic, 3)],
}
"""The transforms of each set."""


def kept(here):
    """Return True if there is a transform of each column onto its own set."""
    return all(column in TRANSFORMS for column in here.columns)


class Grammar:
    """The rules by which a flow is drawn, with Hypothesis's `draw`.

    `heard` is the context that networks see: None, SIZE for vectors, "labels", or "dropped" for labels that may be
    missing. `deep` is how many parts may be nested.
    """

    def __init__(self, draw, heard, deep=2):
        self.draw, self.heard, self.deep = draw, heard, deep

    def pick(self, *options):
        return self.draw(st.sampled_from(options))

    def whole(self, low, high):
        return self.draw(st.integers(low, high))

    def seed(self):
        return {"seed": self.whole(0, 3)}

    # Networks

    def context_words(self):
        """Return the arguments by which a network may read the context."""
        word = "none" if self.heard is None else self.pick("none", "optional", "required")
        if word == "none":
            return {}
        if self.heard == SIZE:
            return {"context": word}
        return {"context": "optional" if self.heard == "dropped" else word, "num_classes": CLASSES}

    def network(self, here, features):
        """Return a network that answers with `features` channels for the events of a place."""
        if any(column == CIRCLE for column in here.columns):
            angles = [place for place, column in enumerate(here.columns) if column == CIRCLE]
            return Expression(c.AngularMLP, [4], angles=angles)
        dense = Expression(keras.layers.Dense, features, activation="tanh")
        options = [
            lambda: Expression(c.MLP, [4], **self.context_words()),
            lambda: dense,
            lambda: Expression(c.ResidualMLP, 4, blocks=1, **self.context_words()),
            lambda: Expression(
                keras.Sequential, [Expression(keras.layers.Dense, 4, activation="relu"), dense]
            ),
        ]
        if len(here.event) == 3:
            options += [
                lambda: Expression(c.ConvNet, 4, **self.context_words()),
                lambda: Expression(c.ResidualConvNet, 4, blocks=1),
                lambda: Expression(c.GatedAttention, 4, blocks=1, heads=2, **self.context_words()),
                lambda: Expression(c.ScaledConv),
                lambda: Expression(keras.layers.Conv2D, features, 3, padding="same"),
                lambda: Expression(c.ViT, 4, depth=1, heads=2),
            ]
        return self.pick(*options)()

    def conditioned(self, features):
        """Return the keyword for a network of the context, or none."""
        network = self.steering(features)
        return {"conditioner": network[0]} if network else {}

    def steering(self, features):
        """Return a network of the context as a list of one; an empty list for none."""
        if self.heard != SIZE or self.pick(True, False):
            return []
        return [self.pick(Expression(c.MLP, [3]), Expression(keras.layers.Dense, features))]

    # Parts

    def plain(self, here, kind):
        return Expression(kind)

    def linear(self, here, kind, *given):
        return Expression(kind, *given, **self.pick({}, {"init": "random", "bias": True}), **self.seed())

    def linear_gaussian(self, here, kind):
        heard = self.heard == SIZE and self.pick(True, False)
        return Expression(kind, **({"context": "required"} if heard else {}))

    def transform(self, columns):
        """Return a transform of columns of these sets: one for each column if they differ."""
        if len(set(columns)) == 1 and (len(columns) == 1 or self.pick(True, True, True, False)):
            return self.pick(*TRANSFORMS[columns[0]])
        return Expression(t.ByColumn, [self.pick(*TRANSFORMS[column]) for column in columns])

    def coupling(self, here, kind):
        swap, mixed = self.pick(False, True), len(set(here.columns)) > 1
        mask = [place % 2 == 0 for place in range(here.channels)]
        split = "channels" if kind is b.GIN else mask
        if kind is b.Coupling and not mixed:
            split = self.pick("channels", "alternating", "checkerboard", mask)
        if split == "checkerboard" and len(here.event) == 3 and here.event[:2] == (1, 1):
            split = "channels"
        small = here.channels // 2
        changed = here.channels if split != "channels" else here.channels - small if swap else small
        seen = here.channels if split != "channels" else here.channels - changed
        place = Here((*here.event[:-1], seen), here.domain)
        layout = {"layout": self.pick("contiguous", "interleaved")}
        if kind is b.GIN:
            return Expression(b.GIN, self.network(place, 2 * changed), swap=swap, **layout)
        transform = self.transform(here.columns if mixed else here.columns[:changed])
        network = self.network(place, changed * transform().parameters)
        return Expression(b.Coupling, network, transform, split=split, swap=swap, **layout)

    def autoregressive(self, here, kind):
        jacobi = {"jacobi": True} if self.pick(False, False, True) else {}
        if len(here.event) != 1:
            if not image(here):
                return self.pointwise(here, b.Pointwise)
            transformer = Expression(c.CausalTransformer, 4, depth=1, heads=2, **self.context_words())
            network = self.pick(
                transformer, Expression(c.CausalConvNet, 4, columns=here.event[1], depth=1, reach=1)
            )
            return Expression(kind, network, Expression(t.Gaussian, min_scale=0.25), **jacobi)
        order = self.pick(None, "reversed", self.draw(st.permutations(range(here.channels))))
        words, width = self.context_words(), max(8, 2 * here.channels)  # each entry hears all before it
        network = self.pick(
            Expression(c.MADE, [width], **words), Expression(c.ResidualMADE, width, blocks=1, **words)
        )
        if CIRCLE in here.columns:
            places = list(range(here.channels))
            places = places[::-1] if order == "reversed" else order or places
            angles = [k for k, place in enumerate(places) if here.columns[place] == CIRCLE]
            network = Expression(c.AngularMADE, [width], angles=angles)
        return Expression(kind, network, self.transform(here.columns), order=order, **jacobi)

    def pointwise(self, here, kind):
        transform = self.transform(here.columns)
        init = {"init": "data"} if self.pick(False, False, True) else {}
        call = Expression(kind, transform, *self.steering(here.channels * transform().parameters), **init)
        return call if here.after(call) else Expression(kind, transform)

    def residual(self, here, kind):
        network = Expression(c.LipschitzMLP, [4], lipschitz=0.5, **self.context_words())
        return Expression(kind, network, trace=self.pick("exact", "hutchinson", "roulette"))

    def continuous(self, here, kind):
        vectors = len(here.event) == 1
        network = Expression(c.Field, [4]) if vectors else Expression(c.UNet, [2, 4], groups=2)
        network.named |= self.context_words()
        trace = self.pick(*([None] if vectors else []), "rademacher", "gaussian")
        return Expression(kind, network, self.pick("rk4", "midpoint"), steps=6, trace=trace)

    def patch_coupling(self, here, kind):
        splits = ["channels", *(["checkerboard", "vstripes-inv"] if here.event[1] % 2 == 0 else [])]
        network = Expression(c.ViT, 4, depth=1, heads=2, **self.context_words())
        return Expression(kind, network, splits=[self.pick(*splits)], **self.seed())

    def multi_scale(self, here, kind):
        scales, event = [], here.event
        while not scales or (event[0] % 2 == event[1] % 2 == 0 and self.pick(False, True)):
            inner = Here((event[0] // 2, event[1] // 2, 4 * event[2]))
            part = self.part(inner, same=True)
            scales.append(Expression(b.Chain, [Expression(b.Squeeze), part]))
            event = (*inner.event[:2], inner.event[2] // 2)
        classes = {"num_classes": CLASSES} if self.heard == "labels" and self.pick(False, True) else {}
        prior = Expression(c.SplitPrior, CLASSES) if classes else Expression(c.ScaledConv, zeros=True)
        priors = self.pick(None, [prior for _ in scales[1:]])
        top = self.pick(None, Expression(c.TopPrior, **classes), Expression(c.PlacePrior, **classes))
        layout = self.pick("interleaved", "contiguous")
        return Expression(kind, scales, priors=priors, top_prior=top, prior_layout=layout, min_scale=0.25)

    def on_columns(self, here, kind):
        marks = self.draw(st.lists(st.booleans(), min_size=here.channels, max_size=here.channels))
        marks[0] = True
        inner = self.part(Here((*here.event[:-1], sum(marks))), same=True)
        return Expression(kind, inner, marks)

    def inverse(self, here, kind):
        return Expression(kind, self.part(here, same=True))

    def backprop(self):
        return {"backprop": self.pick("recompute", "reversible")} if self.pick(False, False, True) else {}

    def of_kind(self, kind, here):
        return PARTS[kind][1](self, here, kind)

    def part(self, here, same=False):
        """Return a part that fits a place; with `same` one that changes neither shape nor set."""
        outer = self.deep
        kinds = [kind for kind, (fits, _) in PARTS.items() if fits(here) and (outer or kind not in NESTING)]
        kinds += 3 * [kind for kind in (b.Coupling, b.Autoregressive, b.Pointwise) if kind in kinds]
        self.deep = max(0, outer - 1)
        try:
            call = self.of_kind(self.pick(*kinds), here)
        finally:
            self.deep = outer
        after = here.after(call)
        if after is None or (same and after != here):
            return self.usual(here)
        return call

    def usual(self, here):
        """Return a part that fits a place, whatever it is."""
        if real(here):
            return Expression(b.Shift)
        if kept(here):
            return Expression(
                b.Pointwise, Expression(t.ByColumn, [TRANSFORMS[column][0] for column in here.columns])
            )
        kind = b.Unconstrain if intervals(here) else s.DequantizeColumns
        return self.of_kind(kind, here)

    def parts(self, here, most):
        """Return (up to `most` parts one after another, the place behind them)."""
        calls = []
        for _ in range(self.whole(1, most)):
            calls.append(self.part(here))
            here = here.after(calls[-1])
        return calls, here

    # Flows

    def start(self, event):
        """Return (the first place, the dequantizer or None) of data of a shape."""
        sets = [lambda: REAL] * 4 + [lambda: Domain.POSITIVE, lambda: UNIT, lambda: Domain.interval(-2, 3)]
        sets += [lambda: LEVELS, lambda: CIRCLE]
        if len(event) == 1 and event[0] > 1:
            sets += [lambda: Domain.each(*(self.pick(REAL, CIRCLE) for _ in range(event[0])))]
            sets += [lambda: Domain.each(Domain.whole(0, 2), *(REAL for _ in range(event[0] - 1)))]
        dequantize = self.pick(None, *self.dequantizers(event)) if len(event) == 3 else None
        return Here(event, REAL if dequantize else self.pick(*sets)()), dequantize

    def dequantizers(self, event):
        noise = Expression(b.Coupling, Expression(c.MLP, [4]), "affine", split="checkerboard")
        noise = noise if math.prod(event[:2]) > 1 else Expression(b.Pointwise, "affine")
        some = [
            Expression(d.Dequantize),
            Expression(d.Dequantize, n_bits=5),
            Expression(d.Dequantize, levels=4),
        ]
        return [*some, Expression(d.VariationalDequantize, noise, levels=4), Expression(d.GaussianNoise, 0.1)]

    def base(self, here):
        """Return a base density of the latents at a place."""
        if here.domain == UNIT:
            return Expression(p.Uniform, 0.0, 1.0)
        if here.domain == CIRCLE:
            return Expression(p.Uniform, *ANGLES)
        if not real(here):
            places = {}
            for place, column in enumerate(here.columns):
                places.setdefault(column, []).append(place)
            parts = [
                Expression(p.Normal) if column == REAL else Expression(p.Uniform, *ANGLES)
                for column in places
            ]
            return Expression(p.Joint, parts, list(places.values()))
        options = [
            *(lambda: None, lambda: Expression(p.Normal, learn=True), lambda: Expression(p.Logistic)),
            *(lambda: Expression(p.StudentT, 5.0), lambda: Expression(p.Mixture, 2)),
            lambda: Expression(p.Normal, **self.conditioned(2 * math.prod(here.event))),
            lambda: Expression(p.MixtureOfFlows, [Expression(b.ActNorm), Expression(b.Shift, 0.5)]),
        ]
        if len(here.event) == 1 and here.channels > 1:
            places = [[0], list(range(1, here.channels))]
            options += [
                lambda: Expression(
                    p.Joint, [Expression(p.Logistic), Expression(p.Normal, learn=True)], places
                )
            ]
        return self.pick(*options)()

    def flow(self, own=None):
        """Return the fields of a `DrawnFlow`; `own` is the call of a bijector that is part of the flow, or None."""
        here, dequantize = self.start(self.pick(*EVENTS))
        if own is not None:
            here, dequantize = Here(self.pick(*Subject(own).events), own().spec.domain), None
        first, calls = here, []
        if own is not None:
            calls = [self.part(here, same=True)] if real(here) and self.pick(False, True) else []
            twice = Expression(b.Repeat, own, 2)
            calls.append(twice if here.after(twice) == here and self.pick(False, True) else own)
            here = here.after(calls[-1])
        more, here = self.parts(here, 4)
        calls += more
        if not (here.domain == UNIT or all(column in (REAL, CIRCLE) for column in here.columns)):
            calls.append(self.of_kind(b.Unconstrain, here))
            here = here.after(calls[-1])
        call = Expression(b.Chain, calls, **self.backprop()) if len(calls) > 1 else calls[0]
        if first.after(call) is None:  # some parts refuse backprop=
            call = Expression(b.Chain, calls)
        named = {"base": self.base(here), "dequantize": dequantize}
        named = {name: value for name, value in named.items() if value is not None}
        given, embedding = self.pick(*CONTEXTS[self.heard])
        word = Flow(call(), **{name: value() for name, value in named.items()}).context_kind
        if word == "none" or (
            word == "optional" and self.heard == "labels" and self.pick(False, False, True)
        ):
            given = None
        elif embedding is not None:
            named["embedding"] = embedding
        return Expression(Flow, call, **named), first.event, given, self.whole(0, 2**16)


Builder = Callable[[Grammar, Here, type], Expression]
PARTS: dict[type, tuple[Callable[[Here], bool], Builder]] = {
    b.Shift: (real, lambda g, h, kind: Expression(kind, *g.pick([], [0.5]))),
    b.Scale: (real, lambda g, h, kind: Expression(kind, *g.pick([], [-0.5]))),
    b.ActNorm: (real, Grammar.plain),
    b.Permute: (alike, lambda g, h, kind: Expression(kind, *g.pick([], ["shuffle"]), **g.seed())),
    b.Coupling: (lambda h: h.channels > 1 and kept(h), Grammar.coupling),
    b.Autoregressive: (kept, Grammar.autoregressive),
    b.Pointwise: (kept, Grammar.pointwise),
    **dict.fromkeys((b.LULinear, b.MatrixExponential, b.CayleyRotation), (real, Grammar.linear)),
    **dict.fromkeys((b.HouseholderRotation, b.QRLinear, b.SVDLinear), (real, Grammar.linear)),
    b.Woodbury: (real, lambda g, h, kind: g.linear(h, kind, g.whole(1, h.channels))),
    b.Conv1x1: (real, lambda g, h, kind: Expression(kind, lu=g.pick(True, False), **g.seed())),
    b.GIN: (several, Grammar.coupling),
    b.Planar: (vector, lambda g, h, kind: Expression(kind, *g.steering(2 * h.channels + 1), **g.seed())),
    b.Radial: (vector, lambda g, h, kind: Expression(kind, *g.steering(h.channels + 2), **g.seed())),
    b.Sylvester: (vector, lambda g, h, kind: Expression(kind, units=g.whole(1, h.channels), **g.seed())),
    b.LinearGaussian: (vector, Grammar.linear_gaussian),
    b.NormalScores: (vector, lambda g, h, kind: Expression(kind, g.pick(2, 4, 16))),
    b.BlockAutoregressive: (vector, lambda g, h, kind: Expression(kind, 2, depth=g.pick(1, 2))),
    b.Residual: (vector, Grammar.residual),
    b.Continuous: (lambda h: vector(h) or even(h), Grammar.continuous),
    **dict.fromkeys((b.BatchNorm, b.Standardize), (real, Grammar.plain)),
    # Images
    **dict.fromkeys((b.Squeeze, b.Haar, s.MaxPool), (even, Grammar.plain)),
    **dict.fromkeys(
        (b.EmergingConv, b.PeriodicConv), (image, lambda g, h, kind: Expression(kind, **g.seed()))
    ),
    b.PatchCoupling: (lambda h: image(h) and h.channels % 2 == 0, Grammar.patch_coupling),
    b.MultiScale: (even, Grammar.multi_scale),
    b.Flatten: (lambda h: alike(h) and len(h.event) > 1, Grammar.plain),
    b.Reshape: (lambda h: alike(h) and h.event == (4,), lambda g, h, kind: Expression(kind, (2, 2, 1))),
    # Between sets
    **dict.fromkeys((b.Exp, b.Softplus, b.Sigmoid, b.Tanh, s.Absolute), (real, Grammar.plain)),
    b.Logit: (lambda h: h.domain == UNIT, Grammar.plain),
    b.Unconstrain: (intervals, lambda g, h, kind: Expression(kind, [_word(column) for column in h.columns])),
    b.SoftBounds: (
        finite,
        lambda g, h, kind: Expression(kind, [(c.low, c.high) for c in h.columns], softness=0.1),
    ),
    b.Equalize: (lambda h: h.domain == LEVELS, lambda g, h, kind: Expression(kind, 4)),
    s.DequantizeColumns: (
        lambda h: "whole" in h.domain.kind,
        lambda g, h, kind: Expression(kind, [_recorded(column) for column in h.columns]),
    ),
    # With other parts inside
    b.Chain: (anywhere, lambda g, h, kind: Expression(kind, g.parts(h, 2)[0], **g.backprop())),
    b.Inverse: (kept, Grammar.inverse),
    b.Repeat: (
        kept,
        lambda g, h, kind: Expression(kind, g.part(h, same=True), g.whole(2, 3), **g.backprop()),
    ),
    b.OnColumns: (several, Grammar.on_columns),
    # Surjections
    s.Slice: (several, lambda g, h, kind: Expression(kind, g.whole(1, h.channels - 1))),
    s.Augment: (real, lambda g, h, kind: Expression(kind, 1)),
    s.Sort: (lambda h: vector(h) and several(h), Grammar.plain),
    s.StochasticPermute: (alike, Grammar.plain),
}
"""The parts, the simplest first: class -> (condition on its place, function that draws it there)."""


def _word(column):
    """Return a column's set as `Unconstrain` takes it."""
    if column.kind == "circle":
        return ("circular", column.low, column.high)
    return tuple(end if math.isfinite(end) else None for end in (column.low, column.high))


def _recorded(column):
    return ("whole", int(column.high) + 1) if column.kind == "whole" else "real"


NESTING = (b.Chain, b.Inverse, b.Repeat, b.MultiScale, b.OnColumns)
EVENTS = [(1,), (2,), (3,), (4,), (6,), (2, 2, 1), (4, 4, 1), (2, 4, 2), (2, 2, 3)]
CONTEXTS = {
    None: [(None, None)],
    SIZE: [
        ((SIZE,), None),
        ((3,), Expression(keras.layers.Dense, SIZE)),
        ((3,), Expression(c.ScaledDense, SIZE)),
        ((SIZE,), Expression(c.StandardizedContext)),
        ((3, 2), Expression(c.DeepSet, SIZE, hidden=[3])),
        (CLASSES, Expression(keras.layers.Embedding, CLASSES, SIZE)),
    ],
    "labels": [(CLASSES, None)],
    "dropped": [(CLASSES, Expression(c.LabelDropout, CLASSES))],
}
"""The contexts that networks read -> (the context of the flow, the embedding that reads it)."""
