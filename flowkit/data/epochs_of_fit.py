"""Which of the beginnings and ends that Keras's `fit` tells a data set are those of an epoch."""


class EpochsOfFit:
    """What a data set has heard of the `fit` that reads it.

    To build what is not built, `fit` may first take a batch, after on_epoch_begin. Then it says on_epoch_end, to start
    afresh; and then, for each epoch, begin and end. Only its callbacks hear when training begins: without them it has
    begun once an end has come.
    """

    def __init__(self) -> None:
        self._fit_is_on = False
        self._epoch_is_on = False
        self._first_of_epoch = False
        self._next_index = 0

    def begin(self) -> None:
        """Training begins: the next epoch is its first."""
        self._fit_is_on = True
        self._epoch_is_on = False
        self._first_of_epoch = False
        self._next_index = 0

    def on_epoch_begin(self) -> None:
        self._epoch_is_on = self._fit_is_on
        self._first_of_epoch = True  # of what is taken to build a model as well

    def on_epoch_end(self) -> bool:
        """Whether an epoch has ended; otherwise training begins."""
        ended = self._epoch_is_on
        if ended:
            self._epoch_is_on = False
            self._first_of_epoch = False
        else:
            self.begin()
        return ended

    def note(self, index: int) -> None:
        """Batch `index` is asked for. Raises ValueError if an epoch begins elsewhere than where it should."""
        if self._first_of_epoch:
            self._first_of_epoch = False
            if index not in (0, self._next_index):
                raise ValueError(
                    "batches: expected fit(..., shuffle=False), received batches in the order of "
                    "Python's global `random`. Pass shuffle=False: they are shuffled already, "
                    "each epoch anew, by (seed, epoch)."
                )
        self._next_index = index + 1
