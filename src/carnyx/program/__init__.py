"""Programs: what a model's step becomes when it is traced. Engines run them, others read them."""
