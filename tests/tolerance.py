"""How far the same number may differ between engines."""

import keras

# What is promised of log_prob between engines. The same arithmetic in another order of batches or
# on another engine must stay inside it.
PARITY = 1e-5

# What may differ between log_prob of a flow and of the flow that its file holds: nothing, except that TensorFlow's
# arithmetic optimizer orders the operations of a graph by their names, and the layers of two flows have other names.
REREAD = 1e-6 if keras.backend.backend() == "tensorflow" else 0.0
