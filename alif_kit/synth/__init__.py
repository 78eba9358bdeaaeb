"""Synthetic data: seeds -> teacher -> journal -> parse -> filters -> novelty -> pool -> train and held-out files."""
