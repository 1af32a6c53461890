"""Analyzer: encode, match, latent scaling, contexts, track, explanations, report."""

STAGES = {
    "encode": "services.analyzer.encode:run",
    "match": "services.analyzer.match:run",
    "latent_scaling": "services.analyzer.latent_scaling:run",
    "contexts": "services.analyzer.contexts:run",
    "track": "services.analyzer.track:run",
    "explain": "services.analyzer.explain.stage:run",
    "explain_edge": "services.analyzer.explain.edge:run",
    "report": "services.analyzer.report:run",
}

# Slow imports of the stages above; a spawner does them once, before it forks.
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
