"""Read a few named samples out of a Prometheus text. Whatever a server sends, it is read soon or refused."""

from collections.abc import Collection, Iterable

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

# The parser takes its time with every character, and squares it with the labels of one line.
MAX_LINE_BYTES = 4096
MOST = 1e15  # of any count: sums of it, and finer units, stay finite; what is no number is not below it either
MAX_WANTED_BYTES = 128 * 1024


class NotMetricsError(Exception):
    """The text is not what Prometheus reads."""


class Metrics:
    """The samples that were asked for, as far as the server has them."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)

    def __bool__(self) -> bool:
        return bool(self._samples)

    def has(self, name: str) -> bool:
        """Whether the server counts this at all."""
        return any(sample.name == name for sample in self._samples)

    def total(self, *names: str, scale: int = 1, **labels: str) -> int:
        """Sum over everything of these names: models, engines, ranks; 0 where there is nothing."""
        return int(
            scale
            * sum(
                sample.value
                for sample in self._samples
                if sample.name in names and labels.items() <= sample.labels.items()
            )
        )


def parse(body: bytes, wanted: Collection[str]) -> Metrics:
    """Return the samples named in `wanted`.

    Only their lines reach the parser, and no comments: it renames a counter without `_total` where it knows the type.

    Raises:
        NotMetricsError: the text is broken.
    """
    lines = [line for line in body.splitlines() if _name(line) in wanted]
    if not lines and not _may_be_metrics(body):
        raise NotMetricsError("it holds no metrics")
    if sum(map(len, lines)) > MAX_WANTED_BYTES or any(len(line) > MAX_LINE_BYTES for line in lines):
        raise NotMetricsError("there is too much of it")
    text = "".join(f"{line.decode(errors='replace')}\n" for line in lines)
    try:
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        is_sound = all(abs(sample.value) <= MOST for sample in samples)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise NotMetricsError("a line of it is broken") from error
    if not is_sound:
        raise NotMetricsError("a value of it is no number")
    return Metrics(samples)


def _name(line: bytes) -> str:
    name = line.partition(b"{")[0].split(None, 1)
    return name[0].decode("latin-1") if name else ""


def _may_be_metrics(body: bytes) -> bool:
    """Tell other metrics, or none yet, from what is none at all."""
    start = body.lstrip()
    return not start or start.startswith(b"#")
