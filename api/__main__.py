"""`python -m api` is the `lineament` command."""

from api.cli.main import main

main()
