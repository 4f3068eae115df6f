"""The pytest plugin: `--bijector-profile fast`, `--bijector-examples N`, `--bijector-backends jax,torch`.

A module of its own, beside the package: pytest imports it in every session of every project that has
flowkit installed, and importing the package chooses Keras's engine.
"""

import os
import subprocess
import sys

import pytest

_CHILD = "FLOWKIT_BIJECTOR_CHILD"
_SHOWN = 20  # bijectors of which the summary tells what they took


def pytest_addoption(parser):
    group = parser.getgroup("flowkit")
    group.addoption(
        "--bijector-examples",
        type=int,
        default=None,
        metavar="N",
        help="how many examples each clause of flowkit's contract checker tries for each bijector (default 5)",
    )
    group.addoption(
        "--bijector-backends",
        default="",
        metavar="jax,torch,tensorflow",
        help="run the contract items on these backends, each in a process of its own",
    )
    group.addoption(
        "--bijector-profile",
        default="full",
        choices=("fast", "full", "thorough"),
        help="fast: round trips, log-dets and float32; full: every clause (default); thorough: more of each, "
        "and all stages of the compilers",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "bijector_contract: made by flowkit.testing.parametrize_bijectors")
    # For the checker, which test modules import later.
    os.environ["FLOWKIT_BIJECTOR_PROFILE"] = config.getoption("--bijector-profile")
    if config.getoption("--bijector-examples") is not None:
        os.environ["FLOWKIT_BIJECTOR_EXAMPLES"] = str(config.getoption("--bijector-examples"))


def pytest_collection_modifyitems(items):
    """Label the items with their bijector and clause, for the summary."""
    for item in items:
        if item.get_closest_marker("bijector_contract"):
            params = item.callspec.params
            label = [params["bijector"].name, params["check"].clause]
            item.user_properties.append(("bijector_contract", label))


def pytest_terminal_summary(terminalreporter, config):
    """What the contracts took, bijector by bijector, the slowest first, where all clauses are asked."""
    if config.getoption("--bijector-profile") == "fast":
        return
    took = {}
    for report in [report for reports in terminalreporter.stats.values() for report in reports]:
        for name, value in getattr(report, "user_properties", ()):
            if name == "bijector_contract" and hasattr(report, "duration"):  # an item left out has none
                bijector, clause = value
                times = took.setdefault(bijector, {})
                times[clause] = times.get(clause, 0.0) + report.duration
    if not took:
        return
    terminalreporter.section("bijector contracts, seconds")
    for bijector, times in sorted(took.items(), key=lambda pair: -sum(pair[1].values()))[:_SHOWN]:
        slowest = sorted(times.items(), key=lambda pair: -pair[1])[:3]
        named = ", ".join(f"{clause} {seconds:.1f}" for clause, seconds in slowest)
        terminalreporter.line(f"{bijector}: {sum(times.values()):.1f} ({named})")
    if len(took) > _SHOWN:
        terminalreporter.line(f"and {len(took) - _SHOWN} that took less")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after this session's own summary
def pytest_sessionfinish(session, exitstatus):
    """Run the contract items again on each other backend of the option."""
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
