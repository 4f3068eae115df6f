"""`python -m flowkit.cli` is `flowkit`."""

import sys

from flowkit.cli.app import main

sys.exit(main())
