"""`python -m stages NAME ...`: run the stage in stages/NAME.py, as dvc.yaml does."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # while modules are imported, in which nothing becomes garbage; `stages.start` enables it
    sys.argv = [f"stages {' '.join(sys.argv[1:2])}", *sys.argv[2:]]
    try:
        from stages.start import main  # here: Ctrl-C may come while this is imported

        sys.exit(main(sys.argv[0].removeprefix("stages ")))
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C. `dvc repro` goes on from here.", file=sys.stderr)
        sys.exit(130)
