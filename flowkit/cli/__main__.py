"""`python -m flowkit.cli` is `flowkit`."""

import sys

from flowkit.cli import main

sys.exit(main())
