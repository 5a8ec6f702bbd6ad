"""`python -m logql`: the command line without its script."""

import sys

from logql.cli import main

sys.exit(main())
