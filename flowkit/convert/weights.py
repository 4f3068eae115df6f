"""The weights of another implementation: from files, and each taken by its name and shape."""

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.bijectors import Chain
from flowkit.data.bounded import FileError, NpzFile, check_bytes, reading
from flowkit.distributions import Normal
from flowkit.engines import installed, plain_array, read_tensorflow_checkpoint, read_torch_state
from flowkit.flow.flow import Flow

_ATOL, _RTOL = 1e-3, 1e-4  # of log-densities in float32: those of a Glow have five digits before the point


def read_variables(path: str | Path) -> dict[str, np.ndarray]:
    """Return names -> arrays of an `.npz` file, a torch state dict (`.pt`, `.pth`) or a TensorFlow checkpoint.

    A checkpoint is named by its prefix (`model_best_loss.ckpt`, beside which lies
    `model_best_loss.ckpt.index`) or by its folder. bfloat16 becomes float32, which is exact. No file is trusted
    to run code, or to hold more than half of this machine's memory. Raises ImportError if TensorFlow or torch is needed
    and missing, FileNotFoundError, or ValueError for other contents.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.npz"
    >>> np.savez(path, **{"model/0/0/actnorm_center/b": np.zeros((1, 1, 1, 12))})
    >>> {name: array.shape for name, array in read_variables(path).items()}
    {'model/0/0/actnorm_center/b': (1, 1, 1, 12)}
    """
    path = Path(path)
    if path.name.endswith((".index", ".meta")) and path.exists():
        path = path.with_suffix("")
    if Path(f"{path}.index").exists() or any(path.glob("*.index")):
        return _read_by("tensorflow", read_tensorflow_checkpoint, path, "a TensorFlow checkpoint")
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: got no file, expected one, or a checkpoint {path.name}.index beside it."
        )
    if path.suffix in (".pt", ".pth"):
        kind = "a state dict, as written by torch.save(model.state_dict(), path)"
        return _read_by("torch", read_torch_state, path, kind)
    return _read_npz(path)


def _read_by(engine, read, path, kind):
    """Return what a function reads from a file of an engine's own, which must be installed."""
    if not installed(engine):
        raise ImportError(f"{path}: {kind} needs {engine}: install it with `pip install {engine}`")
    with reading(path, kind):
        return read(path, functools.partial(check_bytes, path))


def arrays_of(variables: Mapping[str, Any] | str | Path) -> dict[str, np.ndarray]:
    """Return names -> numpy arrays of a file, or of a mapping of names to arrays or tensors of any backend."""
    if isinstance(variables, str | Path):
        return read_variables(variables)
    if not isinstance(variables, Mapping):
        raise TypeError(
            f"variables: got a {type(variables).__name__}, expected names and their arrays, such as model.state_dict()."
        )
    return {str(name): plain_array(value, str(name)) for name, value in variables.items()}


def check_log_prob(flow: Flow, check: Mapping[str, Any] | str | Path | None) -> Flow:
    """Return `flow`, after its log-densities were compared with those in `check`, if it is not None.

    `check` holds `rows`, the original's `log_prob` of them in nats, and `context` if the flow reads one, or is the path
    of an .npz file of these. Rows are what the original is given, channels last, and no stored images: noise of
    dequantisation differs. Raises ValueError with the largest difference.
    """
    if check is None:
        return flow
    given = arrays_of(check)
    if missing := {"rows", "log_prob"} - set(given):
        raise ValueError(
            f"check: got no {' and no '.join(sorted(missing))}, expected rows and their log_prob."
        )
    expected = given["log_prob"].astype("float64")
    if not flow.built:  # its size was open until the first data
        shape = (None, *given["rows"].shape[1:])
        flow.build(shape if flow.num_classes is None else {"x": shape, "context": (None,)})
    plain = flow if flow.dequantize is None else Flow(flow.bijector, base=flow.base)
    scored = np.asarray(plain.log_prob(given["rows"], given.get("context")), "float64")
    if scored.shape != expected.shape:
        raise ValueError(
            f"check: got a log_prob of shape {expected.shape}, expected one for each of {len(scored)} rows."
        )
    difference = np.abs(scored - expected)
    wrong = ~(difference <= _ATOL + _RTOL * np.abs(expected))
    if wrong.any():
        row = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
        raise ValueError(
            f"check: got other log-densities in {wrong.sum()} of {len(wrong)} rows, expected the original's; the "
            f"largest difference is {difference[row]:.4g} nats in row {row}, {scored[row]:.6g} in place of "
            f"{expected[row]:.6g}. Pass the arguments that the original was made with, such as activation=."
        )
    return flow


def _read_npz(path):
    try:
        arrays = NpzFile(path)
        check_bytes(path, sum(arrays.values()))
        return {name: arrays.read(name) for name in arrays}
    except FileError as error:
        raise ValueError(
            f"{path}: got another file, expected an .npz file of plain arrays, a torch state dict (.pt) or a "
            f"TensorFlow checkpoint's prefix. {error}"
        ) from None


Shape = tuple[int | None, ...]


class Weights(dict[str, np.ndarray]):
    """Names and arrays of a file or a state dict.

    A port takes each array that it converts, and in the end refuses what is left: so no weight is lost in silence.

    >>> weights = Weights({"first.weight": np.ones((2, 3)), "first.bias": np.ones(2)})
    >>> weights.take("first.weight", (None, 3)).shape
    (2, 3)
    >>> weights.take("first.bias", (3,))
    Traceback (most recent call last):
    ValueError: first.bias: got shape (2,), expected (3,).
    >>> weights.refuse_rest()
    Traceback (most recent call last):
    ValueError: first.bias of shape (2,) is not part of this model
    """

    def __init__(self, variables: Any) -> None:
        super().__init__(arrays_of(variables))
        self._left = dict.fromkeys(self)

    def first(self, prefix: str = "") -> str | None:
        """Return the first name that begins with `prefix`, or None."""
        return next((name for name in self if name.startswith(prefix)), None)

    def take(self, name: str, shape: Shape) -> np.ndarray:
        """Return an array. Raise ValueError if it is missing, of another shape, or not of finite numbers.

        None in `shape` stands for any length.
        """
        if name not in self:
            raise ValueError(f"{name}: got no array, expected one of shape {shape}.")
        array = self[name]
        same = all(size in (None, own) for size, own in zip(shape, array.shape, strict=False))
        if array.ndim != len(shape) or not same:
            raise ValueError(f"{name}: got shape {array.shape}, expected {shape}.")
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name}: got {array.dtype}, expected numbers.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: got NaN or infinity, expected finite numbers.")
        self._left.pop(name, None)
        return array

    def network(
        self, layers: Sequence[str], inputs: int | None, entries: int | None, *kinds: str
    ) -> list[list[np.ndarray]]:
        """Return the kernels and the biases of linear layers that follow each other, and lists of further `kinds`.

        The number of outputs is a multiple of `entries`; those of a masked network as many as its inputs, if None.
        """
        found: list[list[np.ndarray]] = [[] for _ in ("kernels", "biases", *kinds)]
        for layer in layers:
            kernel = self.take(f"{layer}.weight", (None, inputs))
            inputs = len(kernel)
            bias = self.take(f"{layer}.bias", (inputs,))
            more = [self.take(f"{layer}.{kind}", kernel.shape) for kind in kinds]
            for column, array in zip(found, [kernel, bias, *more], strict=True):
                column.append(array)
        entries = found[0][0].shape[1] if entries is None else entries
        if inputs is None or inputs % entries or not inputs:
            raise ValueError(
                f"{layers[-1]}: got {inputs} outputs, expected as many for each of {entries} entries."
            )
        return found

    def numbers(self, prefix: str, *, gaps: bool = False) -> list[int]:
        """Return the numbers that follow `prefix` in names, sorted.

        Raise ValueError for a gap unless `gaps`: a layer without weights is in no state dict, and could be any map.
        """
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = {int(match[1]) for name in self if (match := pattern.match(name))}
        missing = set(range(max(found, default=0))) - found
        if missing and not gaps:
            raise ValueError(
                f"{prefix}{min(missing)}: got no weights, expected some. A layer without weights does not convert."
            )
        return sorted(found)

    def refuse_rest(self) -> None:
        """Raise ValueError if an array was not taken."""
        for name in self._left:
            raise ValueError(f"{name} of shape {self[name].shape} is not part of this model")

    def as_flow(self, name: str, parts: list[Any], size: Any, context: int | None, check: Any) -> Flow:
        """Return a flow of vectors made of `parts`, after all arrays were taken and its densities compared."""
        self.refuse_rest()
        flow = Flow(Chain(parts), base=Normal(), name=name)
        flow.build({"x": (None, size), "context": (None, context)} if context else (None, size))
        return check_log_prob(flow, check)
