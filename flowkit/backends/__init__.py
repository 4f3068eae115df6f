"""The only code that imports torch, jax or tensorflow: a folder for each engine, a file for each topic."""

import importlib
import importlib.util

from flowkit._engine import ENGINES, installed, require_engine

require_engine()

import keras  # noqa: E402  (after the engine is known to be there)

from flowkit.backends.absent import spare_tensorflow, sparing_tensorflow  # noqa: E402
from flowkit.backends.any.stretches import Stretch, one_by_one  # noqa: E402
from flowkit.backends.foreign_files import plain_array, read_tensorflow_checkpoint, read_torch_state  # noqa: E402


def name():
    """The engine in use: "jax", "torch", "tensorflow" or "numpy"."""
    return keras.backend.backend()


def _file(topic):
    """The engine's own file for a topic, or that of the engines that have none."""
    own, shared = (f"flowkit.backends.{whose}.{topic}" for whose in (name(), "any"))
    return importlib.import_module(own if importlib.util.find_spec(own) else shared)


_backprop = _file("backprop")
_constants = _file("constants")
_convolution = _file("convolution")
_dense = _file("dense")
_engine = _file("engine")
_export = _file("export")
_gradients = _file("gradients")
_group = _file("group")
_inference = _file("inference")
_moves = _file("moves")
_numerics = _file("numerics")
_parts = _file("parts")
_precision = _file("precision")
_recording = _file("recording")
_replicas = _file("replicas")
_rows = _file("rows")
_steps = _file("steps")

Rows = _rows.Rows
SUPPORTS_TRAINING = _engine.SUPPORTS_TRAINING
add_up = _moves.add_up
after_fit = _steps.after_fit
answering = _recording.answering
arctan = _numerics.arctan
as_input = _inference.as_input
backprop = _backprop.backprop
bounded_and_exp = _moves.bounded_and_exp
compile_fully = _inference.compile_fully
compile_gradients = _gradients.compile_gradients
compile_inference = _inference.compile_inference
compile_jacobian = _gradients.compile_jacobian
compiles_answers = _inference.compiles_answers
compiling_parts = _parts.compiling_parts
concatenate = _moves.concatenate
constant = _constants.constant
convolve = _convolution.convolve
convolve_in_turn = _convolution.convolve_in_turn
copy_from_main = _group.copy_from_main
cos = _numerics.cos
cumsum = _numerics.cumsum
current = _steps.current
cut = _moves.cut
cut_rows = _moves.cut_rows
dealt_dense = _dense.dealt_dense
dense = _dense.dense
devices = _engine.devices
draw_alone = _group.draw_alone
drawing_apart = _group.drawing_apart
exchange = _group.exchange
float64 = _precision.float64
holds_weights = _steps.holds_weights
gpu_build = _engine.gpu_build
gradients = _gradients.gradients
is_lost = _group.is_lost
iterate = _numerics.iterate
join = _group.join
leave = _group.leave
left_to_main = _group.left_to_main
lgamma = _engine.lgamma
log_sigmoid_and_sigmoid = _moves.log_sigmoid_and_sigmoid
lowest_float = _precision.lowest_float
map_rows = _engine.map_rows
matmul = _numerics.matmul
mean = _numerics.mean
no_grad = _engine.no_grad
process_rank = _group.process_rank
processes = _group.processes
reaches = _moves.reaches
read_graph = _export.read_graph
records_gradients = _recording.records_gradients
rectify = _convolution.rectify
replica_share = _replicas.replica_share
replicas = _replicas.replicas
reshape = _moves.reshape
row_sums = _moves.row_sums
run_part = _parts.run_part
scaled_kernel = _convolution.scaled_kernel
scan = _parts.scan
scans = _parts.scans
settle = _steps.settle
sin = _numerics.sin
softplus = _numerics.softplus
summed = _group.summed
tanh = _numerics.tanh
train_step = _steps.train_step
trains_apart = _group.trains_apart
transpose = _moves.transpose
unbind = _moves.unbind
unstack = _moves.unstack
use_devices = _group.use_devices
version = _engine.version
ways_to_write = _export.ways
write_graph = _export.write_graph

__all__ = [
    "ENGINES",
    "SUPPORTS_TRAINING",
    "Rows",
    "Stretch",
    "add_up",
    "after_fit",
    "answering",
    "arctan",
    "as_input",
    "backprop",
    "bounded_and_exp",
    "compile_fully",
    "compile_gradients",
    "compile_inference",
    "compile_jacobian",
    "compiles_answers",
    "compiling_parts",
    "concatenate",
    "constant",
    "convolve",
    "convolve_in_turn",
    "copy_from_main",
    "cos",
    "cumsum",
    "current",
    "cut",
    "cut_rows",
    "dealt_dense",
    "dense",
    "devices",
    "draw_alone",
    "drawing_apart",
    "exchange",
    "float64",
    "gpu_build",
    "gradients",
    "holds_weights",
    "installed",
    "is_lost",
    "iterate",
    "join",
    "leave",
    "left_to_main",
    "lgamma",
    "log_sigmoid_and_sigmoid",
    "lowest_float",
    "map_rows",
    "matmul",
    "mean",
    "name",
    "no_grad",
    "one_by_one",
    "plain_array",
    "process_rank",
    "processes",
    "reaches",
    "read_graph",
    "read_tensorflow_checkpoint",
    "read_torch_state",
    "records_gradients",
    "rectify",
    "replica_share",
    "replicas",
    "reshape",
    "row_sums",
    "run_part",
    "scaled_kernel",
    "scan",
    "scans",
    "settle",
    "sin",
    "softplus",
    "spare_tensorflow",
    "sparing_tensorflow",
    "summed",
    "tanh",
    "train_step",
    "trains_apart",
    "transpose",
    "unbind",
    "unstack",
    "use_devices",
    "version",
    "ways_to_write",
    "write_graph",
]
