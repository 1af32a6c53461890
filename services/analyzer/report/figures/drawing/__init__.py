"""What figures are drawn with: canvas, shapes, colours, and where things stand."""
