"""`practice-access` under a limit on file descriptors, soft and hard, that it cannot raise.

python -m tests.servers.limited DESCRIPTORS COMMAND…      as `ulimit -n DESCRIPTORS; practice-access COMMAND…`
"""

import resource
import sys

from cli.main import main

if __name__ == "__main__":
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    sys.exit(main(sys.argv[2:]))
