"""Teacher: any endpoint of the OpenAI protocol, asked within its limits and one's budget.

In: messages, the `[teacher]` settings, a key. Out: answers with their tokens and dollars, retried, throttled, or through the Batch
API; prices.toml has the prices.
Writes: what its caller journals; batches.json of a batch. Uses: core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, ChatClient="client", BatchClient="batch", price_of="limits")
