"""`python -m sealroute` is the `sealroute` command."""

from sealroute.faces.cli.main import main

if __name__ == "__main__":
    main()
