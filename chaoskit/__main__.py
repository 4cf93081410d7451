"""`python -m chaoskit`."""

from chaoskit.cli.main import main

if __name__ == "__main__":
    main()
