"""Features whose explanations tests know, and what stages and language models see of them."""
