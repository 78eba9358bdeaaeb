"""alif_kit: from a language's seed tasks to a tested, chat-ready model on one free T4.

The stages, each a file in, a file out, inside one run folder:

    languages/ur   seeds, prompts, corpus (data only)
    synth          seeds -> teacher -> journal.jsonl -> pool.jsonl -> data/{train,eval}.jsonl
    training       corpus -> pretrain/adapter -> finetune/adapter
    evaluation     base, after pretraining, after fine-tuning -> evaluation/results.json
    release        finetune/adapter -> release/{merged,gguf,quant_study}, chat, card, push
    report         everything above -> report.html

`pipeline` runs them for the command line (`cli`) and the notebooks, which `install` and `notebook` help to begin.

Importing this package imports nothing heavy; torch and unsloth load inside the functions that need them.
"""

__version__ = "0.1.0"
