"""Stages that succeed, fail, crash, hang, or count slowly with checkpoints."""

PRELOAD = ("numpy",)
