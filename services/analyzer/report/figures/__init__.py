"""The figures of the report, made from results.json alone; one figure a file.

Figures 1 and 2 are a `Drawing`, which Plotly and matplotlib both draw; the others are Plotly's.
"""
