"""Ready-made patterns for errors that some servers dress as content, by the settings' word for the server.

Each is anchored at the beginning, and at the end where the sentence is fixed: a model may well speak about an error.
"""

from collections.abc import Mapping

# An answer all the same to the question whether whoever says it is alive.
KNOWN_AS_BUSY: Mapping[str, tuple[str, ...]] = {
    "benchai": (
        r"^\s*Model .{1,100} is currently busy\. Please try again in a moment\.\s*$",
        r"^\s*Code model is currently busy\b",
    ),
}
KNOWN_ERRORS: Mapping[str, tuple[str, ...]] = {
    # Its router answers with status 200 and a complete chat completion, whatever went wrong.
    "benchai": (
        r"^\s*Reasoning failed: ",
        r"^\s*Reasoning error: ",
        r"^\s*Request timed out after \d+ (?:second|minute)s?\b",
        r"^\s*Streaming error: ",
        r"^\s*(?:Model|Vision model) error: HTTP ",
        r"^\s*Vision analysis (?:failed|error|timed out|requires)\b",
        r"^\s*Code generation (?:failed|error|timed out)\b",
    ),
}
