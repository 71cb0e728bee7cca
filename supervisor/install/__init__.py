"""Put the supervisor on a host that runs systemd, and take it off again, with nothing but the standard library.

What is to be done is planned first, out of what is there, and then done step by step; a dry run says the same.
"""
