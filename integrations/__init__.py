"""Ready configurations of routers, each installed by copying; nothing in the package needs them."""
