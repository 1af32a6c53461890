"""The explainer without a language model: rules over tokens, what stands before them, and where."""

from services.analyzer.explain.rules.find import find_rules
from services.analyzer.explain.rules.rule import Gate, Rule

__all__ = ["Gate", "Rule", "find_rules"]
