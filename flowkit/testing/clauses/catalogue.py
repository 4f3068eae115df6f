"""Every clause, in the order in which they are checked and reported."""

from flowkit.testing.clauses import (
    adaptation,
    batch,
    compiled,
    context,
    derived,
    errors,
    finite,
    gaps,
    gradients,
    image,
    log_det,
    noise,
    precision,
    purity,
    rearranging,
    refresh,
    round_trip,
    saving,
    shapes,
    sizes,
)

_ALL = (
    shapes.log_det_shape,
    shapes.shape_inference,
    round_trip.from_domain,
    round_trip.from_codomain,
    gaps.gaps,
    image.codomain,
    image.domain,
    rearranging.rearranges,
    log_det.of_the_jacobian,
    log_det.of_the_other_direction,
    log_det.kind,
    finite.finite,
    finite.finite_gradient,
    gradients.output,
    gradients.log_det,
    batch.independence,
    batch.empty,
    purity.purity,
    context.context,
    noise.noise,
    adaptation.adaptation,
    refresh.refresh_alone,
    derived.derived,
    saving.config,
    saving.saving,
    compiled.compiled,
    precision.mixed_precision,
    errors.wrong_rank,
    errors.wrong_size,
    sizes.other_places,
)
CLAUSES = {clause.name: clause for clause in _ALL}


def known(name):
    """`name`, if a clause is called that. Raises ValueError otherwise."""
    if name not in CLAUSES:
        raise ValueError(
            f"the checker knows no clause {name!r}: expected one of {', '.join(map(repr, CLAUSES))}."
        )
    return name
