"""Analyzer: encode, match, latent scaling, contexts, track, explanations, report."""

STAGES = {
    "encode": "services.analyzer.encode:run",
    "match": "services.analyzer.match.stage:run",
    "latent_scaling": "services.analyzer.latent_scaling.stage:run",
    "contexts": "services.analyzer.contexts.stage:run",
    "track": "services.analyzer.track.stage:run",
    "explain": "services.analyzer.explain.stage:run",
    "explain_edge": "services.analyzer.explain_edge:run",
    "report": "services.analyzer.report.stage:run",
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
