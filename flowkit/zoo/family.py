"""Share code among families: of vectors the arguments, and the way from a function of layers to a `Flow`.

Of images the shape, the dequantiser and the first layer.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import keras

from flowkit.bijectors import (
    ActNorm,
    Chain,
    Equalize,
    LinearGaussian,
    LULinear,
    NormalScores,
    Permute,
    Repeat,
    Scale,
    Standardize,
    Unconstrain,
)
from flowkit.bijectors.unconstrain import domain_of_column
from flowkit.conditioners import MLP, StandardizedContext
from flowkit.contract import Domain, FlowLayer
from flowkit.contract.arguments import LARGEST, Widths, checked, shown, whole, whole_number, words
from flowkit.data.dequantize import Dequantize
from flowkit.data.frame import Columns, check_names
from flowkit.flow.flow import Flow
from flowkit.flow.parts import classes_of
from flowkit.transforms import Affine
from flowkit.zoo.scored_context import ScoredContext


def _features(features, name):
    """Return the number of features, or the names of columns as a tuple."""
    if features is None or isinstance(features, str) or not hasattr(features, "__iter__"):
        return None if features is None else whole(1)(features, name)
    return check_names(tuple(features))


Features = Annotated[int | Sequence[str] | None, _features]
Layers = Annotated[int, whole(1, 1024)]
Linear = Annotated[str, words("lu", "permutation", "none")]
Start = Annotated[str, words("closed form", "standardized")]


# Images

EDGE = 0.5 / 0.9  # so that [-1/2, 1/2] becomes [0.05, 0.95] before the logit


def image_shape(value: Any, name: str) -> tuple[int, ...]:
    """Return the shape of an image. Raises ValueError unless it is (height, width, channels)."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"{name}: got {shown(value)}, expected (height, width, channels).")
    return tuple(whole_number(side, f"each of {name}", least=1, most=LARGEST) for side in value)


ImageShape = Annotated[Sequence[int], image_shape]
Bits = Annotated[int, whole(1, 8)]
DataLevels = Annotated[int, whole(2, 256)]
Tails = Annotated[str, words("linear", "affine")]
Trace = Annotated[str, words("exact", "hutchinson", "roulette")]


def dequantizer(n_bits: int | None, data_levels: int | None) -> Dequantize | None:
    """Return the dequantizer of stored images; None for continuous ones, which have neither number."""
    return None if n_bits is None and data_levels is None else Dequantize(n_bits, levels=data_levels)


def entrance(dequantize: Any, equalize: bool) -> Equalize | Scale:
    """Return the first layer of pixels from -1/2 to 1/2: by their histogram, or a scale to [-1, 1]."""
    return Equalize(getattr(dequantize, "levels", 256)) if equalize else Scale(math.log(2))


# Vectors


def table_front(
    *,
    features: int | None = None,
    domains: Sequence[Any] | Mapping[Any, Any] | None = None,
    standardize: bool = True,
) -> list[FlowLayer]:
    """Return the bijectors that take the columns of a table as they come, to be put before other layers.

    - `domains`: the domain of each column, "real", "positive" or (low, high), as for `flowkit.bijectors.Unconstrain`: a
      list of one for each column, or a dict {place: domain}; columns that it lacks are real. None: all are real.
    - `features`: how many columns there are; only a dict needs it.
    - `standardize`: to mean 0 and deviation 1, after that, by statistics of up to 10,000 rows of the data.

    Raises ValueError for unknown domains, for angles, since no map takes a circle onto the line, and if the number of
    domains differs from the number of columns.

    >>> [type(part).__name__ for part in table_front(features=3, domains={1: "positive"})]
    ['Unconstrain', 'Standardize']
    """
    if features is not None:
        whole_number(features, "features", least=1)
    front: list[FlowLayer] = []
    if domains is not None:
        domains = each_domain(domains, features)
        circular = angular(domains)
        if any(circular):
            raise ValueError(
                f"the domain of column {circular.index(True)}: got a circle, which no map takes onto the line, "
                "expected an interval. flowkit.zoo.nsf and nsf_autoregressive take circular columns beside others, "
                "circular_nsf angles alone."
            )
        unconstrain = Unconstrain(domains)
        front += [] if unconstrain.spec.domain == Domain.REAL else [unconstrain]
    return [*front, Standardize()] if standardize else front


def angular(domains: Sequence[Any]) -> list[bool]:
    """Return for each column if its domain is a circle. Raises ValueError for an unknown domain."""
    return [domain_of_column(domain, place).kind == "circle" for place, domain in enumerate(domains)]


def each_domain(
    domains: Sequence[Any] | Mapping[Any, Any] | None, features: int | None, names: Sequence[Any] = ()
) -> list[Any]:
    """Return the domain of each column, as a list; a dict may use `names` of columns. Raises what `table_front` does.

    >>> each_domain({"age": "positive", 2: (0, 1)}, 3, names=["age", "height", "share"])
    ['positive', 'real', (0, 1)]
    """
    if isinstance(domains, Mapping):
        if features is None:
            raise ValueError("domains: got a dict, expected features= too, the number or names of columns.")
        places = {_place(column, features, names): domain for column, domain in domains.items()}
        return [places.get(place, "real") for place in range(features)]
    if isinstance(domains, str) or not isinstance(domains, Sequence):
        raise ValueError(
            f"domains: got {shown(domains)}, expected a list of one for each column, such as ['real', 'positive', "
            "(0, 1)], or a dict {place: domain}."
        )
    if features is not None and len(domains) != features:
        raise ValueError(f"domains: got {len(domains)}, expected one for each of {features} columns.")
    return list(domains)


def _place(column, features, names):
    """Return the place of a column by its name, or by a number that is no name, which TOML files hold as text."""
    known = [str(name) for name in names]
    if str(column) in known:
        return known.index(str(column))
    if isinstance(column, str) and not column.isdecimal():
        wanted = f"columns among {', '.join(map(repr, known))}." if known else "places of columns, from 0."
        cure = "" if known else " To use names, give those of all columns: features=list(frame.columns)."
        raise ValueError(f"domains: got the column {column!r}, expected {wanted}{cure}")
    place = int(column) if isinstance(column, str) else column
    return whole_number(place, "a column in domains", least=0, most=features - 1)


@dataclass
class Plan:
    """The arguments that families share, and the `front` that brings data to the scale of the layers.

    A family may change them before it returns its layers. `layers`, `hidden`, `linear`, `residual` and `start` are
    arguments of the families that name a default for them. `front` None is that of tables: from the domains of the
    features onto the real line, then standardised, and if `actnorm` an ActNorm, which training may move; then
    `marginals`, a layer of each column by itself, if the family sets one. A `start` in closed form takes `NormalScores`
    in its place, a `LinearGaussian` in place of those that standardise, and a `ScoredContext`. `features` are a number,
    or the `names` of columns, which `domains` may then use; `domains` become a list of one for each column. A family of
    images sets `image`, their shape, and `dequantize`.
    """

    family: str
    features: Features = None
    context: Annotated[int, whole(0)] = 0
    layers: Layers = 1
    hidden: Widths = ()
    linear: Linear = "none"
    residual: bool = False
    start: Start = "standardized"
    domains: Sequence[Any] | Mapping[Any, Any] | None = None
    base: keras.Layer | None = None
    embedding: keras.Layer | None = None
    front: Any = field(default=None, init=False)
    image: tuple[int, ...] | None = field(default=None, init=False)
    dequantize: Any = field(default=None, init=False)
    actnorm: bool = field(default=True, init=False)
    names: tuple[Any, ...] = field(default=(), init=False)
    marginals: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.features, tuple):
            self.names, self.features = self.features, len(self.features)
        if self.domains is not None:
            self.domains = each_domain(self.domains, self.features, self.names)
        if self.residual and len(set(self.hidden)) > 1:
            raise ValueError(
                f"{self.family}'s hidden: got {self.hidden}, expected the same width for each block, for residual=True."
            )

    @property
    def circular(self) -> list[bool]:
        """Return for each column if its domain is a circle; nothing without domains."""
        return angular(self.domains or ())

    @property
    def reads(self) -> str:
        """Return the word of `Conditioner` for networks that see data: whether they read a context too."""
        return "required" if self.context else "none"

    def network(self, plain: Callable[..., Any], residual: Callable[..., Any], **options: Any) -> Any:
        """Return `plain` with the hidden widths; for residual=True `residual` with a block for each, and `options`."""
        if self.residual:
            return residual(self.hidden[0], blocks=len(self.hidden), context=self.reads, **options)
        return plain(self.hidden, context=self.reads)

    def network_of_context(self) -> MLP | None:
        """Return a network that is given the context; None without a context."""
        return MLP(self.hidden) if self.context else None

    def refuse_one_feature(self, take: str) -> None:
        """Raise ValueError for vectors of one entry: a coupling keeps some entries and changes others."""
        if self.features == 1:
            raise ValueError(
                f"{self.family}'s features: got 1, expected at least 2, since a coupling changes some entries by the "
                f"others. For one feature take {take}."
            )

    def flow(self, layers: list[Any]) -> Flow:
        """Return the flow of the front and `layers`, built if the number of features is known."""
        if self.embedding is not None and not self.context:
            raise ValueError(
                f"{self.family}'s context: got 0 with an embedding, expected the number of entries that it reads."
            )
        front = self._front() if self.front is None else self.front
        embedding = self.embedding
        if self.context and embedding is None:
            embedding = ScoredContext() if self.start == "closed form" else StandardizedContext()
        options = {"embedding": embedding, "dequantize": self.dequantize, "name": self.family}
        flow = Flow(Chain([*front, *layers]), self.base, **options)
        if self.names:
            flow.columns = Columns(self.names, None)
        event = self.image if self.features is None else (self.features,)
        return built(flow, event, self._context_shape())

    def _front(self):
        closed, marginals = self.start == "closed form", self.marginals
        front = table_front(features=self.features, domains=self.domains, standardize=not closed)
        if closed:
            return [*front, *self.closed_form(marginals)]
        return [*front, *([ActNorm(factor=1.0)] if self.actnorm else []), *([marginals] if marginals else [])]

    def closed_form(self, marginals: Any) -> list[FlowLayer]:
        """Return the layers that start as the best Gaussian, or with `marginals` as the Gaussian copula."""
        return [*([NormalScores()] if marginals else []), LinearGaussian(context=self.reads)]

    def _context_shape(self):
        """Return the shape of the context, or a dict of shapes: what the embedding says, if it says it.

        None for labels, and without a context.
        """
        embedding = self.embedding
        if getattr(embedding, "inputs", None):  # a model whose inputs were declared, by `keras.Input`
            given = embedding.inputs[0] if isinstance(embedding, keras.Sequential) else embedding.input
            return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), given)
        labels = embedding is not None and classes_of(embedding) is not None
        return (None, self.context) if self.context and not labels else None


def built(flow: Any, event: Sequence[int] | None, context: Any = None) -> Any:
    """Return `flow` with weights for events and a context of these shapes; as it is for `event` None.

    Without another shape the context of a class-conditional flow is labels, (batch,).
    """
    if event is not None:
        if context is None and flow.num_classes is not None:
            context = (None,)
        x_shape = (None, *event)
        flow.build(x_shape if context is None else {"x": x_shape, "context": context})
    return flow


_FIRST = ("features", "context", "layers", "hidden")  # before a family's own arguments, the others after them
# Arguments of the families that have a default for them.
_OPTIONAL = ("layers", "hidden", "linear", "residual", "start")


def family(*, without: str = "", **usual: Any) -> Callable[[Callable[..., list[Any]]], Callable[..., Flow]]:
    """Return a decorator that makes a keyword-only function of a `Flow` out of one of layers, `layers(plan, ...)`.

    Its arguments are those of the plan that all families have, but for the one `without`, those with `usual` defaults,
    and those of the function after the plan, checked by their annotations.

    >>> from flowkit.bijectors import Planar
    >>> @family(layers=2)
    ... def bent(plan):
    ...     return [Planar() for _ in range(plan.layers)]
    >>> bent(features=3).event_shape
    (3,)
    """
    _, *known = inspect.signature(Plan).parameters.values()
    shared = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=usual.get(p.name, p.default))
        for p in known
        if p.name in usual or p.name not in (*_OPTIONAL, without)
    ]
    first = sum(p.name in _FIRST for p in shared)

    def made(layers):
        @functools.wraps(layers)
        def architecture(**given):
            of_plan = {p.name: given.pop(p.name) for p in shared if p.name in given}
            plan = Plan(layers.__name__, **usual | of_plan)
            return plan.flow(layers(plan, **given))

        _, *own = inspect.signature(layers).parameters.values()
        parameters = [*shared[:first], *own, *shared[first:]]
        architecture.__signature__ = inspect.Signature(parameters, return_annotation=Flow)  # type: ignore[attr-defined]
        architecture.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": Flow}
        return checked(architecture)

    return made


def gentle(layers: int) -> Affine:
    """Return the scale of one of `layers`: together they multiply by e^8 at most, so that inverses keep their digits.

    Heavy tails drive the scales of all layers to one end: at e^2 each, 32 layers leave no digit of a row.
    """
    return Affine("tanh", bound=min(2.0, 8.0 / layers))


def alternating(plan: Plan, make: Callable[[bool], Any]) -> list[Any]:
    """Return layers that take turns, `make(False)` and `make(True)`, and maps before them that mix features.

    A shuffle comes before each two: within them it might undo the change of roles. `linear` "lu" puts a matrix before
    each layer as well. Alike pairs are one `Repeat`.
    """

    def step(turned):
        shuffle = [Permute("shuffle")] if plan.linear != "none" and not turned else []
        matrix = [LULinear(bias=True)] if plan.linear == "lu" else []
        return [*shuffle, *matrix, make(turned)]

    pairs = [Repeat(Chain([*step(False), *step(True)]), plan.layers // 2)] if plan.layers > 1 else []
    return [*pairs, *(step(False) if plan.layers % 2 else [])]
