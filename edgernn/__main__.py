"""`python -m edgernn` is `edgernn`."""

from edgernn.cli import main

if __name__ == "__main__":
    main()
