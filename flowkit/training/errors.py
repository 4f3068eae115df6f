"""Why training cannot go on, or does not for now."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, or of another model or engine."""


class TrainingStopped(RuntimeError):
    """Training was asked to stop, and did so behind a checkpoint; `place` says where."""

    def __init__(self, epochs: int, step: int) -> None:
        self.place = place(epochs, step)
        super().__init__(f"training stopped {self.place}, and can go on from there")


def place(epochs: int, step: int) -> str:
    """Where training stands, in words.

    >>> place(2, 0), place(2, 7)
    ('after epoch 2', 'after step 7 of epoch 3')
    """
    return f"after step {step} of epoch {epochs + 1}" if step else f"after epoch {epochs}"
