"""`python -m liir` is `liir`."""

import sys

from liir.cli import main

sys.exit(main())
