"""The columns of a mixed table, categories, whole numbers and missing entries among them, as real coordinates."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.unconstrain import Unconstrain, as_listed, domain_of_column
from flowkit.contract import BijectorSpec, Context, Domain, Shape, Surjection, Tensor, sum_event
from flowkit.contract.adaptation import adapted_flag
from flowkit.contract.arguments import is_number, shown, whole_number, whole_numbers
from flowkit.contract.columns import check_count, join, pick
from flowkit.contract.conditioner import Network, adapt_conditioner, ask, build_conditioner, split_parameters
from flowkit.contract.errors import shape_error
from flowkit.engines import engine
from flowkit.numerics import log_sigmoid, matmul, maximum, minimum, tanh

_STEEP = 1.702  # sigmoid(1.702 e) is the normal distribution function of e, but for 0.01 at most
_SCALE = 4.0  # the posterior's deviations are between 1 / 4 and 4
_MEAN = 6.0  # its means between -6 and 6, so that no draw of it rounds to an end of its cell
LARGEST_WHOLE = 2**20
"""The largest whole number, and the most levels: float32 then holds a dequantised number in steps of 1/16."""


class DequantizeColumns(Surjection):
    """y ~ q(y | x) in the cell of real rows that are recorded as x: log p(x) >= E_q[log p(y) - log q(y | x)].

    `columns` says what each column of x is, and how it becomes coordinates of y:

    - `("whole", n)`, whole numbers 0, ..., n - 1: one coordinate, in the cell (x, x + 1) of (0, n) (dequantisation).
      `("whole", low, high)`: from low to high. `("cycle", n)`: 0, ..., n - 1 on a circle, on which n is 0 again, such
      as hours of the day.
    - `("category", n)`, the numbers 0, ..., n - 1 of categories: the bits of x, each in the cell (b, b + 1) of (0, 2)
      (argmax flows with binary codes). If n is no power of 2, some categories have a bit less, and the last one may be
      anything in (0, 2): so each y is recorded as one category, and none is left over.
    - a domain as for `flowkit.bijectors.Unconstrain`, such as "real", "positive" or (0, 1): real numbers, as they are.

    Columns at the places `missing`, which are no categories, may hold NaN for a missing entry. `atoms` has (place,
    value) of single values that a column may have besides its numbers, such as (2, 0.0) for no rain in column 2; those
    of whole numbers are the next ones, n, n + 1, ... of ("whole", n). Each such column has an indicator more, which is
    a category: a number, a missing entry, or one of the atoms. Unless it is a number, the coordinate of the number may
    be anywhere in its domain, and is drawn as the numbers of the column are spread. So log p(x) of a row with missing
    entries or atoms is the probability of these, and the density of what is there. A category that may be missing is
    one category more.

    q draws e ~ N(m, s^2) for each coordinate that is drawn, and y = low + width * sigmoid(1.7 e) in its cell. m and s
    are what `conditioner` answers for x, standardised, which training makes close to the flow's own posterior
    (variational dequantisation); None is m = 0, s = 1, nearly uniform. Coordinates come in the order bits, whole
    numbers, bits of indicators, real columns; `codomain` of the spec has their intervals.

    Raises ValueError for other words, numbers or places. Ho et al., Flow++ (2019); Hoogeboom, Nielsen, Jaini, Forre &
    Welling, Argmax Flows and Multinomial Diffusion (2021); Nielsen et al., SurVAE Flows (2020).

    >>> layer = DequantizeColumns([("whole", 10), ("category", 3), "positive"])
    >>> x = ops.convert_to_tensor([[7.0, 2.0, 0.5]])
    >>> layer = layer.adapt(x, noise=ops.zeros((1, 3)))
    >>> y, log_det = layer(x, noise=ops.zeros((1, 3)))
    >>> ops.convert_to_numpy(y).tolist()  # two bits, 7 + 1/2, the real column
    [[1.5, 1.5, 7.5, 0.5]]
    >>> ops.convert_to_numpy(layer.inverse(y)[0]).tolist()
    [[7.0, 2.0, 0.5]]

    Rain and its zeros:

    >>> layer = DequantizeColumns(["positive"], atoms=[(0, 0.0)])
    >>> x = ops.convert_to_tensor([[0.0], [2.0]])
    >>> y, log_det = layer.adapt(x, noise=ops.zeros((2, 2)))(x, noise=ops.zeros((2, 2)))
    >>> ops.convert_to_numpy(y).tolist()  # the indicator, and a number that is not in use in the first row
    [[1.5, 2.0], [0.5, 2.0]]
    >>> ops.convert_to_numpy(layer.inverse(y)[0]).tolist()
    [[0.0], [2.0]]
    """

    rows_to_adapt = 10_000

    def __init__(
        self,
        columns: Iterable[Any],
        *,
        missing: Sequence[int] = (),
        atoms: Iterable[tuple[int, float]] = (),
        conditioner: Network = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.columns = [as_listed(column) if isinstance(column, Domain) else column for column in columns]
        self.conditioner = conditioner
        self.missing = whole_numbers(missing, "DequantizeColumns's missing")
        self.atoms = [tuple(atom) for atom in atoms]
        kinds = [_kind(column, place) for place, column in enumerate(self.columns)]
        self._categories, self._whole, self._real = (
            [place for place, (own, _) in enumerate(kinds) if own == word]
            for word in ("category", "whole", "real")
        )
        if not kinds or not set(self.missing) <= {*self._whole, *self._real}:
            raise ValueError(
                f"DequantizeColumns: got missing={shown(missing)} for {len(kinds)} columns, expected places of columns "
                "that are no categories. Give a category that may be missing one category more."
            )
        sets = [kind for _, kind in kinds]
        # Columns with an indicator, and the values that it may stand for beside a number.
        self._cases = {place: [math.nan] for place in self.missing}
        for place, value in _checked_atoms(self.atoms, kinds):
            self._cases.setdefault(place, []).append(value)
        counts = [int(sets[place].high) for place in self._categories]
        self._bit_count = sum(map(_bits, counts))  # of categories, before those of indicators
        self._coded = self._categories + [len(kinds) + number for number in range(len(self._cases))]
        most = max(map(len, self._cases.values()), default=0)
        self._values = tuple((*values, *[math.inf] * (most - len(values))) for values in self._cases.values())
        counts += [1 + len(values) for values in self._cases.values()]
        self._bits = tuple((number, n, bit) for number, n in enumerate(counts) for bit in range(_bits(n)))
        # How many categories have a bit less, the first ones: for each category, and for each bit.
        self._shorts = tuple(2 ** _bits(n) - n for n in counts)
        self._short = tuple(self._shorts[number] for number, _, _ in self._bits)
        self._power = tuple(2**bit for _, _, bit in self._bits)
        ranges = [sets[place] for place in self._whole]
        self._ranges = tuple((kind.low, kind.high - kind.low) for kind in ranges)
        binary = Domain.interval(0, 2)
        indicator_bits = len(self._bits) - self._bit_count
        cells = [binary] * self._bit_count + ranges + [binary] * indicator_bits
        self._cells = len(cells)
        self._find_fills()
        # The first and the last whole number of each.
        self._ends = tuple((cell.low, cell.high - 1) for cell in cells)
        self.coordinates = cells + [sets[place] for place in self._real]
        self._unconstrain = Unconstrain(self.coordinates)
        self._fill = Unconstrain([_opened(sets[place]) for place in self._fills]) if self._fills else None
        self.spec = BijectorSpec(
            event_rank=1,
            domain=Domain.each(
                *(_recorded_as(*kind, self._cases.get(place, ())) for place, kind in enumerate(kinds))
            ),
            codomain=Domain.each(*self.coordinates),
            noise="forward",
            likelihood="bound",
        )

    def _find_fills(self):
        """Find the columns of numbers that may not be in use, the places of their coordinates, and of their draws.

        A coordinate of a whole number has the draw of its cell, that of a real one a draw of its own, after all cells.
        """
        whole, real = ([place for place in own if place in self._cases] for own in (self._whole, self._real))
        self._fills, self._whole_fills = whole + real, len(whole)
        of_whole = [self._bit_count + self._whole.index(place) for place in whole]
        self._fill_places = of_whole + [self._cells + self._real.index(place) for place in real]
        self._fill_draws = of_whole + [self._cells + number for number in range(len(real))]
        self._drawn = self._cells + len(real)
        self._other_places = [
            place for place in range(self._cells + len(self._real)) if place not in self._fill_places
        ]
        self._cells_alone = [place for place in range(self._cells) if place not in of_whole]

    def build(self, x_shape: Shape) -> None:
        size = (len(self._unconstrain.columns),)
        self.mean = self.add_weight(shape=size, initializer="zeros", name="mean", trainable=False)
        self.std = self.add_weight(shape=size, initializer="ones", name="std", trainable=False)
        self.flag = adapted_flag(self)
        if self.conditioner is not None:
            build_conditioner(self, self.conditioner, 2 * self._drawn, (None, *size))

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        check_count(self, x_shape, "as it was made for")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], len(self._unconstrain.columns))

    def compute_inverse_shape(self, latent_shape: Shape) -> Shape:
        if latent_shape[-1] != len(self._unconstrain.columns):
            raise shape_error(self, f"latents of {len(self._unconstrain.columns)} coordinates", latent_shape)
        return (*latent_shape[:-1], len(self.columns))

    def noise_size(self, x_shape: Shape) -> int:
        return self._drawn

    def _forward(self, x, noise):
        eps, x = ops.reshape(noise, (-1, self._drawn)), self._with_cases(x)
        mean, log_scale = self._posterior(x)
        y, log_slope, in_use = self._draw(x, mean + ops.exp(log_scale) * eps)
        return y, sum_event(in_use * (log_slope + log_scale - _log_normal(eps)))

    def _inverse(self, y):
        x = self._recorded(y)
        mean, log_scale = self._posterior(x)
        e = self._drawn_as(x, y)
        _, log_slope, in_use = self._draw(x, e)
        log_det = sum_event(in_use * (_log_normal((e - mean) * ops.exp(-log_scale)) - log_scale - log_slope))
        return self._without_cases(x), log_det

    # Rows with one column more for each indicator: the number of its case, 0 for a number. Others are NaN in the column
    # itself. All methods below take and return such rows.

    def _with_cases(self, x):
        if not self._cases:
            return x
        values, own = engine.constant(np.asarray, self._values, like=x), pick(x, list(self._cases))
        same = ops.cast(ops.expand_dims(own, -1) == values, x.dtype)
        case = ops.sum(same * engine.constant(np.arange, 1, 1 + len(self._values[0]), like=x), axis=-1)
        case = ops.where(
            ops.isnan(own), ops.ones_like(own), case
        )  # the first of a column that may miss entries
        return self._hidden(ops.concatenate([x, case], axis=-1))

    def _hidden(self, x):
        """Return rows with NaN for numbers that are not in use."""
        case = x[..., len(self.columns) :]
        cases = [case, ops.zeros_like(x[..., : x.shape[-1] - len(self._cases)])]
        others = [place for place in range(x.shape[-1]) if place not in self._cases]
        return ops.where(join(cases, [list(self._cases), others]) > 0, math.nan, x)

    def _without_cases(self, x):
        if not self._cases:
            return x
        case = ops.expand_dims(x[..., len(self.columns) :], -1)
        values = engine.constant(np.asarray, self._values, like=x)
        here = case == engine.constant(np.arange, 1, 1 + len(self._values[0]), like=x)
        value = ops.sum(ops.where(here, values, ops.zeros_like(values)), axis=-1)
        own = ops.where(case[..., 0] > 0, value, pick(x, list(self._cases)))
        others = [place for place in range(len(self.columns)) if place not in self._cases]
        return join([own, pick(x, others)], [list(self._cases), others])

    # The cells of bits, whole numbers and indicators

    def _starts(self, x):
        """Return (start, width) of the cell of each bit, whole number and indicator, (batch, cells)."""
        code = pick(x, [self._coded[number] for number, _, _ in self._bits])
        short, power = (
            engine.constant(np.asarray, numbers, like=x) for numbers in (self._short, self._power)
        )
        pattern = ops.floor(ops.where(code < short, 2 * code, code + short) / power)
        free = ops.cast(ops.logical_and(code < short, power < 2), x.dtype)  # the bit that is not needed
        number = pick(x, self._whole)
        gone = ops.isnan(number)
        low, levels = engine.unstack(engine.constant(_pairs, self._ranges, like=x), axis=-1)
        of_bits = (1 - free) * (pattern - 2 * ops.floor(pattern / 2)), 1 + free
        of_numbers = (
            ops.where(gone, low, number),
            ops.where(gone, levels, ops.ones_like(number)),
        )
        first = self._bit_count
        return tuple(
            ops.concatenate([bits[..., :first], numbers, bits[..., first:]], axis=-1)
            for bits, numbers in zip(of_bits, of_numbers, strict=True)
        )

    def _recorded(self, y):
        """Return the x in whose cell each row y is."""
        first, last = engine.unstack(engine.constant(_pairs, self._ends, like=y), axis=-1)
        number = minimum(maximum(ops.floor(y[..., : self._cells]), first), last)
        whole, after = self._bit_count, self._bit_count + len(self._ranges)
        bits = ops.concatenate([number[..., :whole], number[..., after:]], axis=-1)
        short = engine.constant(np.asarray, self._shorts, like=y)
        pattern = matmul(bits, engine.constant(_weights, self._bits, len(self._coded), like=y))
        code = ops.where(pattern < 2 * short, ops.floor(pattern / 2), pattern - short)
        parts = [code, number[..., whole:after], y[..., self._cells :]]
        x = join(parts, [self._coded, self._whole, self._real])
        return self._hidden(x) if self._cases else x

    # Draws

    def _draw(self, x, e):
        """Return (y, log dy/de, 1 for each number of `e` that is in use and 0 for the others) of draws `e`."""
        start, width = self._starts(x)
        t = _STEEP * e[..., : self._cells]
        # Rounding must not take a number to the end of its cell, which belongs to the next one.
        end = (start + width) * (1 - np.finfo(keras.backend.standardize_dtype(x.dtype)).eps.item())
        y = ops.concatenate([minimum(start + width * ops.sigmoid(t), end), pick(x, self._real)], axis=-1)
        log_slope = ops.log(width) + math.log(_STEEP) + log_sigmoid(t) + log_sigmoid(-t)
        in_use = ops.ones_like(log_slope)
        if not self._fills:
            return y, log_slope, in_use
        # As the numbers in use are spread: others elsewhere would teach the flow to put those there too.
        gone, mean, std = self._of_fills(x)
        drawn, slope = self._fill._inverse(
            mean + std * ops.where(gone, pick(e, self._fill_draws), 0.0 * mean)
        )
        filled = ops.where(gone, drawn, pick(y, self._fill_places))
        y = join([filled, pick(y, self._other_places)], [self._fill_places, self._other_places])
        in_use = ops.concatenate([in_use, ops.cast(gone[..., self._whole_fills :], x.dtype)], axis=-1)
        return y, self._of_draws(log_slope, gone, slope + ops.log(std)), in_use

    def _of_draws(self, of_cells, gone, of_fills):
        """Return what belongs to each draw: that of its cell, or of a number that is `gone`."""
        count = self._whole_fills
        of_whole = pick(of_cells, self._fill_draws[:count])
        of_whole = ops.where(gone[..., :count], of_fills[..., :count], of_whole)
        parts = [pick(of_cells, self._cells_alone), of_whole, of_fills[..., count:]]
        return join(parts, [self._cells_alone, self._fill_draws])

    def _drawn_as(self, x, y):
        """Return the draws `e` that give y for x; zeros for those not in use."""
        start, width = self._starts(x)
        t = (y[..., : self._cells] - start) / width
        eps = np.finfo(keras.backend.standardize_dtype(x.dtype)).eps.item()
        t = ops.clip(t, eps * eps, 1 - eps)
        e = (ops.log(t) - ops.log1p(-t)) / _STEEP
        if not self._fills:
            return e
        gone, mean, std = self._of_fills(x)
        filled = pick(y, self._fill_places)
        inside, _ = self._fill._inverse(mean + ops.zeros_like(filled))
        z, _ = self._fill._forward(ops.where(gone, filled, inside))
        return self._of_draws(e, gone, (z - mean) / std)

    def _of_fills(self, x):
        """Return (which entries of the columns that may miss numbers do, mean and deviation of each column)."""
        mean, std = (
            pick(ops.expand_dims(weight.value, 0), self._fill_places) for weight in (self.mean, self.std)
        )
        return ops.isnan(pick(x, self._fills)), mean, std

    # The posterior

    def _middles(self, x):
        """Return the middle of each cell and the real columns, on the real line; NaN for numbers not in use."""
        start, width = self._starts(x)
        z, _ = self._unconstrain._forward(ops.concatenate([start + width / 2, pick(x, self._real)], axis=-1))
        if not self._fills:
            return z
        gone = ops.isnan(pick(x, self._fills))
        filled = ops.where(gone, math.nan, pick(z, self._fill_places))
        return join([filled, pick(z, self._other_places)], [self._fill_places, self._other_places])

    def _posterior(self, x):
        """Return (mean, log of the deviation) of the draws, (batch, drawn) or (1, drawn)."""
        if self.conditioner is None:
            zeros = ops.zeros((1, self._drawn), dtype=self.compute_dtype)
            return zeros, zeros
        h = split_parameters(ask(self.conditioner, self._seen(x), None, self.compute_dtype), 2, "contiguous")
        return _MEAN * tanh(h[..., 0, :] / _MEAN), math.log(_SCALE) * tanh(h[..., 1, :] / math.log(_SCALE))

    def _seen(self, x):
        z = (self._middles(x) - self.mean.value) / self.std.value
        return ops.where(ops.isnan(z), ops.zeros_like(z), z)

    def run_adapt(self, x: Tensor, context: Context, again: bool = True, noise: Tensor | None = None) -> None:
        if again or not self.flag.value:
            z = ops.convert_to_numpy(self._middles(self._with_cases(x))).astype("float64")
            present = np.isfinite(z)
            count = np.maximum(present.sum(axis=0), 1)
            mean = np.where(present, z, 0.0).sum(axis=0) / count
            std = np.sqrt(np.where(present, np.square(z - mean), 0.0).sum(axis=0) / count)
            self.mean.assign(mean.astype(self.variable_dtype))
            self.std.assign(np.where(std > 1e-6, std, 1.0).astype(self.variable_dtype))
            self.flag.assign(True)
        adapt_conditioner(self.conditioner, self._seen(self._with_cases(x)), None, again)


def _kind(column, place):
    """Return ("category", "whole" or "real", the set of its real numbers) of one of the columns."""
    if isinstance(column, Sequence) and len(column) == 2 and column[0] in ("category", "whole", "cycle"):
        name = f"DequantizeColumns's column {place}, its count"
        count = whole_number(column[1], name, least=2, most=LARGEST_WHOLE)
        if column[0] == "cycle":
            return "whole", Domain.circle(0, count)
        return column[0], Domain.interval(0, count)
    if isinstance(column, Sequence) and len(column) == 3 and column[0] == "whole":
        name = f"DequantizeColumns's column {place}, its"
        low = whole_number(column[1], f"{name} first number", least=-LARGEST_WHOLE, most=LARGEST_WHOLE)
        high = whole_number(column[2], f"{name} last number", least=low + 1, most=LARGEST_WHOLE)
        return "whole", Domain.interval(low, high + 1)
    return "real", domain_of_column(column, place)


def _checked_atoms(atoms, kinds):
    """Return pairs (place, value); ValueError for other things, for categories and for levels of whole numbers."""
    tops = {place: domain.high for place, (word, domain) in enumerate(kinds) if word == "whole"}
    for atom in atoms:
        place, value = atom if len(atom) == 2 else (None, None)
        right = place in range(len(kinds)) and kinds[place][0] != "category" and is_number(value)
        if not right or value != tops.get(place, value):
            raise ValueError(
                f"DequantizeColumns's atoms: got {shown(atom)}, expected (place, number) of columns that are no "
                "categories. The atoms of whole numbers are the next ones, n, n + 1, ... of ('whole', n); give a "
                "category one category more."
            )
        tops |= {place: tops[place] + 1} if place in tops else {}
    return atoms


def _recorded_as(word, domain, cases):
    """Return the set of recorded entries of a column."""
    atoms = [value for value in cases if not math.isnan(value)]
    return domain.also(*atoms) if word == "real" else Domain.whole(domain.low, domain.high - 1 + len(atoms))


def _opened(domain):
    """Return the interval of a circle, on which the draws of missing entries are."""
    return Domain.interval(domain.low, domain.high) if domain.kind == "circle" else domain


def _bits(n):
    """Return how many bits tell n categories apart."""
    return (n - 1).bit_length()


def _pairs(pairs):
    """Return pairs of numbers as an array (n, 2), also if there are none."""
    return np.asarray(pairs, "float64").reshape(-1, 2)


def _weights(bits, categories):
    """Return the matrix that makes one number of the bits of each category, (bits, categories)."""
    rows = [[(other == number) * 2**bit for other in range(categories)] for number, _, bit in bits]
    return np.array(rows).reshape(len(bits), categories)


def _log_normal(e):
    return -0.5 * (e * e + math.log(2 * math.pi))
