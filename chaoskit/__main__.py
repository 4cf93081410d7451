"""`python -m chaoskit`."""

from chaoskit.cli.start import main

if __name__ == "__main__":
    main()
