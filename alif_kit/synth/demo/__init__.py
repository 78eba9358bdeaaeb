"""Demo: the embedded teacher, a loopback server of the chat protocol that composes tasks from the pack's lexicon.

In: a prompt. Out: tasks that are right and dull, or the faults it was told to show. A demonstration, no substitute for a teacher.
Writes: nothing. Uses: synth's own formats, languages, core.
"""
