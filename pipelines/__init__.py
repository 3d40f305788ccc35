"""Order, concurrency, retries: the DVC graph under Prefect.

Importing this package sets the switches of `project.environment`, and puts the folder of this Python first in PATH:
what a stage calls `python` is then the one that runs the pipeline, also where no environment is activated.
"""

import os
import sys

from pretextbench.project.environment import quiet_tools


def own_python_first() -> None:
    """Put the folder of this Python first in PATH."""
    folder, path = os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)
    if folder and path.split(os.pathsep)[0] != folder:
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"


quiet_tools()  # before Prefect or DVC is imported: they read their switches at import
own_python_first()
