"""Training: corpus -> blocks -> continued pretraining -> fine-tuning on answers -> adapter."""
