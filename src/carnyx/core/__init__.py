"""What a model is made of: variables, state, layers, graphs, configs. Nothing here trains."""
