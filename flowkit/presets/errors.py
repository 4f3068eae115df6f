"""The error of a preset."""


class PresetError(ValueError):
    """A preset that cannot be had, read or written: one line that says what was expected, what came and what to do."""
