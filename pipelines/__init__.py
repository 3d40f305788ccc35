"""Order, concurrency, retries: the DVC graph under Prefect. Importing this package sets the switches of `quiet`."""

from pretextbench import quiet

quiet.apply()  # before Prefect or DVC is imported: they read their switches at import
