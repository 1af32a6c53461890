"""Stage `report`: inputs -> results.json -> tables, figures and the page."""
