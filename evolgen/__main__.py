"""`python -m evolgen`."""

from evolgen.cli.main import main

main()
