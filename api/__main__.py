"""`python -m api` is the `lineament` command."""

from api.cli import main

main()
