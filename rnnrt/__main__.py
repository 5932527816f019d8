"""``python -m rnnrt``: the command."""

import sys

from .command.main import main

if __name__ == "__main__":  # a tool that imports every module runs no command
    sys.exit(main())
