"""How far the same number may differ between engines."""

# What is promised of log_prob between engines. The same arithmetic in another order of batches or
# on another engine must stay inside it.
PARITY = 1e-5
