"""Analyzer: encode, match, latent scaling, contexts, track, explanations, report."""

# Slow imports of the stages; a spawner does them once, before it forks.
PRELOAD = (
    "numpy",
    "scipy.sparse.csgraph",
    "pandas",  # pyarrow imports it when it makes a table
    "pyarrow.compute",
    "pyarrow.parquet",
    "torch",
    "transformers.models.mistral.modeling_mistral",
    "plotly.graph_objects",
    "matplotlib.figure",
)
