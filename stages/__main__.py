"""`python -m stages NAME ...`: run the stage in stages/NAME.py, as dvc.yaml does."""

import gc
import sys

from stages import delegate, host

if __name__ == "__main__":
    gc.disable()  # while modules are imported, in which nothing becomes garbage; `stages.start` enables it
    sys.argv = [f"stages {' '.join(sys.argv[1:2])}", *sys.argv[2:]]
    status = delegate.run(sys.argv)
    if status is None:
        delegate.start(sys.argv[0].removeprefix("stages "))
        status = host.work()
    sys.exit(status)
