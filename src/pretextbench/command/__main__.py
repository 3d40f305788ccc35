"""`python -m pretextbench.command`, where the script is not on the path."""

import sys

from pretextbench.command import main

sys.exit(main())
