"""Stage `train`: pre-training and fine-tuning."""
