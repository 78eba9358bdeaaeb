"""Evaluation: the base, the model after pretraining and after fine-tuning, on the same held-out data, budget and parser."""
