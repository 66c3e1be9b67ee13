"""`python -m mllmu_unlearn` is `mllmu`."""

from mllmu_unlearn.cli.main import main

if __name__ == "__main__":
    main()
