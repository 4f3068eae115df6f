"""Before Keras is there: the lazy import, the choice of an engine, the errors where none fits."""

import pytest

from flowkit._engine import ENGINES, installed

INSTALLED = [engine for engine in ENGINES if installed(engine)]


def test_importing_flowkit_imports_nothing_beyond_the_standard_library(run_python):
    """So that it takes a few hundredths of a second, with an engine or without: nothing else is found in this time."""
    source = """
        import sys
        before = set(sys.modules)
        import flowkit
        new = set(sys.modules) - before
        print(sorted(name for name in new if name.split(".")[0] not in sys.stdlib_module_names))
    """
    assert run_python(source) == str(["flowkit", "flowkit._engine", "flowkit._registration"])
    assert run_python(source, hidden=["keras", "numpy", *ENGINES]) == run_python(source)


def test_the_front_door_has_its_names_and_imports_what_is_heavy_when_it_is_asked_for(run_python):
    """By layers and a flow of them not even then, but for Keras, which brings its own, and the engine."""
    others = [engine for engine in ENGINES if engine != INSTALLED[0]]
    heavy = [*others, "hypothesis", "pytest", "matplotlib", "PIL", "typer", "scipy", "pandas", "polars"]
    source = f"""
        import sys, flowkit, keras
        before = set(sys.modules)
        flowkit.Flow(flowkit.bijectors.Scale(0.0)).build((None, 2))
        flowkit.zoo, flowkit.data, flowkit.training
        print([name for name in {heavy!r} if name in set(sys.modules) - before])
        assert set(flowkit.__all__) <= set(dir(flowkit))
        for name in flowkit.__all__:
            getattr(flowkit, name)
        print(flowkit.engines.engine.name, *[e for e in flowkit.engines.ENGINES if e in sys.modules])
        try:
            flowkit.Flwo
        except AttributeError as error:
            print(error)
    """
    first = INSTALLED[0]
    assert run_python(source).splitlines() == [
        "[]",
        f"{first} {first}",  # named, and no other engine imported
        "module 'flowkit' has no attribute 'Flwo'",
    ]


@pytest.mark.parametrize("engine", INSTALLED)
def test_the_first_installed_engine_is_taken(run_python, engine):
    hidden = ENGINES[: ENGINES.index(engine)]
    source = "import flowkit, os; print(os.environ['KERAS_BACKEND'])"
    assert run_python(source, hidden=hidden) == engine


def test_a_choice_already_made_is_left_alone(run_python):
    source = "import flowkit, os; print(os.environ['KERAS_BACKEND'])"
    assert run_python(source, engine="numpy") == "numpy"


@pytest.mark.parametrize("use", ["flowkit.Flow", "flowkit.zoo", "import flowkit.data"])
def test_with_no_engine_the_first_use_names_the_extras(run_python, use):
    source = f"""
        import flowkit
        assert "Flow" in dir(flowkit) and flowkit.__version__
        try:
            {use}
        except ImportError as error:
            print(error)
    """
    message = run_python(source, hidden=ENGINES)
    for name in ENGINES:
        assert f"pip install {name}" in message
    assert "\n" not in message


def test_an_unknown_engine_is_named_with_those_that_exist(run_python):
    source = """
        import flowkit
        try:
            flowkit.zoo
        except ImportError as error:
            print(error)
    """
    message = run_python(source, engine="pytorch")
    assert "'pytorch'" in message
    assert "jax, torch, tensorflow, numpy" in message


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_missing_engine_is_named_with_what_is_there_instead(run_python, engine):
    source = """
        import flowkit
        try:
            flowkit.Flow
        except ImportError as error:
            print(error)
    """
    message = run_python(source, engine=engine, hidden=[engine])
    assert message.startswith(f"KERAS_BACKEND='{engine}', but {engine} is not installed.")
    assert f"pip install {engine}" in message
    assert all(other in message for other in INSTALLED if other != engine)


@pytest.mark.skipif(
    len(INSTALLED) < len(ENGINES), reason="nothing to spare where TensorFlow is not installed"
)
def test_tensorflow_can_be_spared_and_layers_are_stored_all_the_same(run_python):
    source = """
        import sys, keras
        from flowkit import bijectors, engines
        from flowkit.engines import engine
        engines.spare_tensorflow()
        layer = bijectors.ActNorm()
        assert bijectors.ActNorm.from_config(layer.get_config()).get_config() == layer.get_config()
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        print("tensorflow" in sys.modules)
    """
    assert run_python(source, engine="jax") == "False"
