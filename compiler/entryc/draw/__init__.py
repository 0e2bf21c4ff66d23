"""Pictures of a spec as plain SVG: frames, the graph of paths, states along paths, windows. No script, nothing from elsewhere, the same bytes everywhere."""
