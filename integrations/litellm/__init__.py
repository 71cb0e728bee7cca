"""The LiteLLM proxy: see docs/routers/litellm.md."""
