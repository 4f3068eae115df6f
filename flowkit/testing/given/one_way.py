"""Whether a layer has a way back, or says that it has none: by NotImplementedError, as the base class does."""

import traceback

from flowkit.contract import hooks
from flowkit.testing.verdicts.cause import is_authors, said


def no_inverse(call):
    """Why there is no inverse, if `call()` of it says so; None if it answers, or fails in another way.

    An engine raises NotImplementedError too, for an operation that it lacks: that is a mistake to report, and no
    word of the author's.
    """
    try:
        call()
    except NotImplementedError as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        module = frame.f_globals.get("__name__", "")
        if is_authors(module) or module == hooks.__name__:
            return f"none ({said(error) or 'NotImplementedError'})"
    except Exception:  # the clauses will say what is wrong
        return None
    return None
