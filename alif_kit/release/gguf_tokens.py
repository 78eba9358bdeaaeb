"""release: the token ids that llama.cpp makes of texts, in a process of its own: a GGUF whose tokenizer is wrong can abort it.

    python -m alif_kit.release.gguf_tokens FILE.gguf < texts.json

In: a GGUF file, a JSON list of texts on stdin. Out: a JSON list of lists of ids on stdout.
"""

from __future__ import annotations

import json
import sys

from alif_kit.release.gguf import need_llama, quiet


def main() -> None:
    llama_cpp = need_llama("reading a GGUF's tokenizer")
    quiet(llama_cpp)
    model = llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False)
    texts = json.load(sys.stdin)
    print(json.dumps([model.tokenize(text.encode("utf-8"), add_bos=False, special=True) for text in texts]))
    model.close()


if __name__ == "__main__":
    main()
