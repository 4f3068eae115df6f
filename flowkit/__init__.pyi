# What `__getattr__` of __init__.py looks up at first use, for type checkers.
from flowkit import bijectors as bijectors
from flowkit import bridges as bridges
from flowkit import conditioners as conditioners
from flowkit import convert as convert
from flowkit import data as data
from flowkit import densities as densities
from flowkit import diagnostics as diagnostics
from flowkit import distributed as distributed
from flowkit import distributions as distributions
from flowkit import engines as engines
from flowkit import evaluation as evaluation
from flowkit import latent as latent
from flowkit import numerics as numerics
from flowkit import objectives as objectives
from flowkit import play as play
from flowkit import posteriors as posteriors
from flowkit import presets as presets
from flowkit import surjections as surjections
from flowkit import tables as tables
from flowkit import testing as testing
from flowkit import training as training
from flowkit import transforms as transforms
from flowkit import zoo as zoo
from flowkit.contract import Bijector as Bijector
from flowkit.contract import BijectorSpec as BijectorSpec
from flowkit.contract import Conditioner as Conditioner
from flowkit.contract import ContractError as ContractError
from flowkit.contract import Domain as Domain
from flowkit.contract import Surjection as Surjection
from flowkit.densities import evidence as evidence
from flowkit.densities import sample_density as sample_density
from flowkit.diagnostics import inference_report as inference_report
from flowkit.flow import Flow as Flow
from flowkit.posteriors import load_posterior as load_posterior
from flowkit.posteriors import posterior as posterior
from flowkit.presets import PresetError as PresetError
from flowkit.presets import upload_preset as upload_preset
from flowkit.tables import TableFlow as TableFlow
from flowkit.tables import fit_table as fit_table
from flowkit.zoo import LabelledFlow as LabelledFlow

__version__: str
__all__: list[str]
