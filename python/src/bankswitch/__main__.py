"""`python -m bankswitch`."""

import sys

from bankswitch.command import main

sys.exit(main(sys.argv[1:]))
