"""Codes, and what every stage computes from them: standardising, correlation, products, windows."""
