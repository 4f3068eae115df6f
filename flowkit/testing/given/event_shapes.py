"""Which event shapes to try: small ones first, then those where structure shows."""

LARGEST = 64
"""Entries of the largest event that is tried: a Jacobian has the square of that."""

_BY_RANK = {
    1: [(1,), (2,), (3,), (4,), (5,)],
    2: [(1, 1), (2, 3), (3, 2), (1, 4)],
    3: [(1, 1, 1), (2, 3, 1), (1, 2, 3), (3, 2, 2), (2, 2, 4), (2, 4, 2)],
}


def event_shapes(spec):
    """Candidate event shapes for a spec, smallest first: odd channels, one channel, images that are not square.

    The largest is not square either: a profile may try no other image. A spec does not say everything (a coupling
    needs two channels), so a bijector may refuse some.
    """
    rank = spec.event_rank
    ranks = (1, 2, 3) if rank is None else (rank,) if isinstance(rank, int) else tuple(rank)
    shapes = []
    for r in ranks:
        seeds = _BY_RANK.get(r) or [(1,) * r, (*range(1, r), 2)]
        multiple = (*(spec.event_multiple or ()), *(1,) * r)[:r]
        for factor in (1, 2, 4) if spec.event_multiple else (1,):
            shapes += [
                tuple(n * m * (factor if m > 1 else 1) for n, m in zip(s, multiple, strict=True))
                for s in seeds
            ]
    shapes = [fitting for shape in shapes if (fitting := _on_domains(shape, spec)) is not None]
    small = [shape for shape in dict.fromkeys(shapes) if _size(shape)[0] <= LARGEST]
    return sorted(small or shapes[:1], key=lambda shape: (*_size(shape)[:2], _square(shape), shape))


def _on_domains(event, spec):
    """The event with as many columns as the domains have; None for what no domain has, as one part of a whole."""
    domains = spec.domain, spec.codomain
    if any(domain.kind == "simplex" for domain in domains) and event[-1] == 1:
        return None  # the one part is 1: a point, not a density
    columns = [len(domain.columns) for domain in domains if domain.columns]
    return (*event[:-1], columns[0]) if columns else event


def _square(event):
    """0 for an image as high as wide, which hides a height in the place of a width; it goes first among equals."""
    return int(len(event) < 3 or event[0] != event[1])


def evenly(events, count):
    """`count` of the events: the smallest, the largest and some between."""
    if len(events) <= count:
        return events
    return [events[round(i * (len(events) - 1) / (count - 1))] for i in range(count)]


def _size(event):
    size = 1
    for n in event:
        size *= n
    return size, len(event), event
