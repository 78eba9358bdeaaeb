"""cli: `python -m alif_kit.cli`, the same as `alif`."""

from alif_kit.cli.main import main

if __name__ == "__main__":
    main()
