"""Platforms: where this runs, and what that place needs.

In: environment variables, the card's driver, secret stores. Out: facts with a reason, the durable folder, an installed kit, a run
folder mirrored to Drive or the Hub, a doctor's findings; gpus.toml and pins.toml are its tables.
Writes: the mirror. Uses: core. `install` runs before anything else is installed, so it is standard library only.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, detect="machine", secret="machine", durable_folder="machine")
