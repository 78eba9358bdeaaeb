"""Release: from an adapter to something people use.

In: an adapter and its base. Out: merged 16-bit weights, GGUF files read back, an Ollama Modelfile, model cards,
repositories on the Hub.
Writes: release/. Uses: model, languages, platforms, core.
"""

from alif_kit import hands_on

__getattr__ = hands_on(__name__, repositories="cards", gguf_files="facts", need_llama="gguf")
