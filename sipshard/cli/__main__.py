"""``python -m sipshard.cli``, for where the command is not on the path."""

import sys

from sipshard.cli.main import main

sys.exit(main())
