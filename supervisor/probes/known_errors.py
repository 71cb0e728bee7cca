"""Ready-made patterns for errors that some servers dress as content, by the settings' word for the server.

Each is anchored at the beginning, and at the end where the sentence is fixed: a model may well speak about an error.
"""

from collections.abc import Mapping

# An answer all the same to the question whether whoever says it is alive.
KNOWN_AS_BUSY: Mapping[str, tuple[str, ...]] = {
    "benchai": (r"^\s*Model .{1,100} is currently busy\. Please try again in a moment\.\s*$",),
}
KNOWN_ERRORS: Mapping[str, tuple[str, ...]] = {
    # Its router answers with status 200 and a complete chat completion, whatever went wrong.
    "benchai": (
        r"^\s*Reasoning failed: ",
        r"^\s*Reasoning error: ",
        r"^\s*Request timed out after \d+ (?:second|minute)s?\b",
    ),
}
