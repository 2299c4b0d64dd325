"""`python -m cae_pipeline` is `cae`."""

from cae_pipeline.cli import main

main()
