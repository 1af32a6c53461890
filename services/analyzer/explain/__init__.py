"""Names for features: by rules over tokens or by a language model, and how well they predict."""
