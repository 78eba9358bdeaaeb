"""Planner: memory, speed and cost, before anything loads.

In: a base's shape (bases.toml, or its config.json), a card (platforms' gpus.toml), a configuration, hours. Out: a plan with each
part of the memory, Urdu words, steps and dollars, or a refusal that says what would fit. No torch.
Writes: nothing. Uses: model (the tiny base's shape), languages, platforms, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, Plan="budget", Shape="bases", Card="cards")
