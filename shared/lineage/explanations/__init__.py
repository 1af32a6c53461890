"""What is said about explanations of features: who explains, and how well that predicts."""
