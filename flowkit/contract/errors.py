"""The error of a broken promise."""


class ContractError(ValueError):
    """A broken promise: which clause, whose, what was expected, what came, and what to do.

    `clause` is the promise's name ("shape", "context", "log-det", ...), `bijector` the layer (or its
    name). The message is one line; the parts are attributes.

    >>> raise ContractError("shape", "squeeze", expected="an even height", received="7")
    Traceback (most recent call last):
    flowkit.contract.errors.ContractError: squeeze broke 'shape': expected an even height, received 7.
    """

    # Keras rewrites the message of an exception that leaves a layer's call, and makes a RuntimeError of one that it
    # cannot construct from a message alone. This mark says that it did so already, and it lets the exception pass.
    _keras_call_info_injected = True

    def __init__(self, clause, bijector, *, expected, received, hint=None):
        self.clause, self.bijector = clause, bijector
        self.expected, self.received, self.hint = expected, received, hint
        message = f"{label(bijector)} broke '{clause}': expected {expected}, received {received}."
        super().__init__(f"{message} {hint}" if hint else message)


def label(bijector):
    """How an error calls a layer: its class, and its name where that says more."""
    if isinstance(bijector, str):
        return bijector
    return f"{type(bijector).__name__} '{bijector.name}'"
