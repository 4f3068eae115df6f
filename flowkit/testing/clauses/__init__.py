"""The promises of a bijector, one function each; `catalogue` lists them."""
