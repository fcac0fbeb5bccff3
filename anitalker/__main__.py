"""Run the command line: python -m anitalker."""

import sys

from anitalker.cli import main

sys.exit(main())
