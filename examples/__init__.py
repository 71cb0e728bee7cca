"""Programs that show how to use what the supervisor publishes; nothing in the package needs them."""
