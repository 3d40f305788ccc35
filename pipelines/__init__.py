"""Order, concurrency, retries: the DVC graph under Prefect. Importing this package sets the switches of `quiet`."""

from pretextbench.base import quiet

quiet.apply()  # before Prefect or DVC is imported: they read their switches at import
