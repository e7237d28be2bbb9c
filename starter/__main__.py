"""`python -m starter` is `failoverctl`."""

from starter.cli import main

if __name__ == "__main__":
    main()
