"""From a spec to a resolved one: everything that can move is pinned."""
