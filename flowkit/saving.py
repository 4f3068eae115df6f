"""Keeping saved files free of the engine that wrote them."""


def engine_neutral(config):
    """`config` with every class of an engine's own optimizers by its public name, at any depth.

    On torch Keras makes `keras.optimizers.Adam` an instance of a class that only exists where torch is
    installed, and stores that class: such a file would load nowhere else.
    """
    if isinstance(config, list):
        return [engine_neutral(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {key: engine_neutral(value) for key, value in config.items()}
    if str(config.get("module", "")).startswith("keras.src.backend."):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config
