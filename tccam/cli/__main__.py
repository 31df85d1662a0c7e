"""``python -m tccam.cli``."""

import sys

from tccam.cli import main

sys.exit(main())
