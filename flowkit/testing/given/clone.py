"""Making a bijector again from its config, in another precision if that is asked for."""

import json

import keras


def recreate(layer, dtype=None):
    """A new, unbuilt layer from `layer`'s config; with every dtype policy in it replaced by `dtype`, if given.

    The config goes through JSON, as it does in a `.keras` file.
    """
    if hasattr(layer, "remade"):  # of another library, without a config
        return layer.remade(dtype)
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    if dtype is not None:
        stored = _retype(stored, dtype)
    with keras.saving.CustomObjectScope({type(layer).__name__: type(layer)}):
        return keras.saving.deserialize_keras_object(stored)


def _retype(config, dtype):
    """The config with each stored dtype policy (a dict, or the word under the key "dtype") replaced."""
    if isinstance(config, list):
        return [_retype(item, dtype) for item in config]
    if not isinstance(config, dict):
        return config
    if "DTypePolicy" in str(config.get("class_name")):
        return {**config, "class_name": "DTypePolicy", "config": {"name": dtype}}
    return {
        key: dtype if key == "dtype" and isinstance(value, str) else _retype(value, dtype)
        for key, value in config.items()
    }
