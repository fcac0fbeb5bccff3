"""python -m anitalker: the command line."""

import sys

from anitalker.cli import main

sys.exit(main())
