"""The pytest plugin: `--bijector-examples N`, `--bijector-backends jax,torch`.

A module of its own, beside the package: pytest imports it in every session of every project that has
flowkit installed, and importing the package chooses Keras's engine.
"""

import os
import subprocess
import sys

import pytest

_CHILD = "FLOWKIT_BIJECTOR_CHILD"


def pytest_addoption(parser):
    group = parser.getgroup("flowkit")
    group.addoption(
        "--bijector-examples",
        type=int,
        default=None,
        metavar="N",
        help="how many examples each clause of flowkit's contract checker tries for each bijector (default 4)",
    )
    group.addoption(
        "--bijector-backends",
        default="",
        metavar="jax,torch,tensorflow",
        help="run the contract items on these engines, each in a process of its own",
    )
    group.addoption(
        "--bijector-profile",
        default="quick",
        choices=("quick", "thorough"),
        help="how much is tried: quick for CI",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "bijector_contract: made by flowkit.testing.parametrize_bijectors")


def pytest_collection_modifyitems(config, items):
    """Set what the checker reads, now that a test module has imported it, if one did."""
    module = sys.modules.get("flowkit.testing.parametrize")
    if module is None:
        return
    module.OPTIONS["profile"] = config.getoption("--bijector-profile")
    if config.getoption("--bijector-examples") is not None:
        module.OPTIONS["examples"] = config.getoption("--bijector-examples")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after this session's own summary
def pytest_sessionfinish(session, exitstatus):
    """Run the contract items again on each other engine that was asked for."""
    yield
    config = session.config
    wanted = [name for name in config.getoption("--bijector-backends").split(",") if name]
    here = os.environ.get("KERAS_BACKEND", "")
    if not wanted or _CHILD in os.environ or hasattr(config, "workerinput"):
        return
    for engine in wanted:
        if engine == here:
            continue
        environment = {**os.environ, "KERAS_BACKEND": engine, _CHILD: "1"}
        command = [sys.executable, "-m", "pytest", *config.invocation_params.args, "-m", "bijector_contract"]
        print(f"\nbijector contracts on {engine}", flush=True)
        code = subprocess.run(command, env=environment, cwd=config.invocation_params.dir).returncode
        if code not in (0, 5):  # 5: no contract items here
            session.exitstatus = 1
