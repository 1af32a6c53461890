"""Explanations by a language model behind an OpenAI-compatible server: see `ask`."""

from services.analyzer.explain.language_model.dispatcher import ask
from services.analyzer.explain.language_model.excerpts import Examples, HeldOutWindows
from services.analyzer.explain.language_model.feature_answers import Answers, FeatureAnswers, Reason
from services.analyzer.explain.language_model.prompts import prompts_digest

__all__ = [
    "Answers",
    "Examples",
    "FeatureAnswers",
    "HeldOutWindows",
    "Reason",
    "ask",
    "prompts_digest",
]
