"""Explanations by a language model behind an OpenAI-compatible server: see `ask`."""

from services.analyzer.explain.language_model.ask import ask
from services.analyzer.explain.language_model.material import (
    Answered,
    Examples,
    Held,
    Reason,
    Spent,
)
from services.analyzer.explain.language_model.prompts import prompts_digest

__all__ = ["Answered", "Examples", "Held", "Reason", "Spent", "ask", "prompts_digest"]
