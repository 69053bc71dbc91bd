"""The entry point of `python -m edgernn`."""

from edgernn.cli import main

if __name__ == "__main__":
    main()
