"""The tensors of many variables at once."""


def values(variables):
    """`[variable.value for variable in variables]`, for weights that have been made."""
    return [variable.value for variable in variables]
