"""Which words of a command line are hidden, and which are worth keeping."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.engines.masked import MOST_ARGUMENTS, MOST_SHOWN, masked, told_command, told_names, without_secrets

MARK = "Zq7"  # in no word but a secret
SECRETS = st.text(st.characters(exclude_characters="\0"), max_size=20).map(lambda text: f"{MARK}{text}{MARK}")
FLAGS = st.sampled_from(
    ["--api-key", "--api_key", "-api-key", "--hf-token", "-hft", "--ssl-password", "--client-secret", "--AuthToken"]
)
OTHERS = st.lists(st.sampled_from(["-m", "/models/phi-3.gguf", "--port", "8080", "-np", "1", "serve"]), max_size=4)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        pytest.param("-m /models/a.gguf --port 80", "-m /models/a.gguf --port 80", id="no secret"),
        pytest.param("--api-key hush --port 80", "--api-key *** --port 80", id="a flag and its value"),
        pytest.param("--api-key=hush --port 80", "--api-key=*** --port 80", id="a flag joined to its value"),
        pytest.param("--api-key hush also hushed --port 80", "--api-key *** *** *** --port 80", id="several values"),
        pytest.param("--api-key --hush --port 80", "--api-key *** --port 80", id="a value like a flag"),
        pytest.param("--return-token-ids --api-key hush", "--return-token-ids *** ***", id="a flag without a value"),
        pytest.param("-hft hush -hf org/repo", "-hft *** -hf org/repo", id="a short flag"),
        pytest.param("-e HF_TOKEN=hush -e A=b", "-e HF_TOKEN=*** -e A=b", id="a variable"),
        pytest.param("--max-num-batched-tokens 8192", "--max-num-batched-tokens 8192", id="a number of tokens"),
        pytest.param("--max-tokens=100", "--max-tokens=100", id="a joined number of tokens"),
        pytest.param("--tokenizer org/repo", "--tokenizer org/repo", id="a tokenizer"),
        pytest.param("--api-key-file /run/key -v", "--api-key-file /run/key -v", id="where a secret lies"),
        pytest.param("--api-key-file hush -v", "--api-key-file *** -v", id="a secret instead of where it lies"),
        pytest.param("redis://me:hush@cache:6379/0", "redis://***@cache:6379/0", id="credentials of an address"),
        pytest.param("https://hub/x?token=hush", "https://hub/x?token=***", id="a query"),
        pytest.param("-m hf_abcdefghijklmnop", "-m ***", id="a secret's own shape"),
    ],
)
def test_values_of_secret_flags_are_hidden_and_others_are_not(command: str, shown: str) -> None:
    assert masked(command.split(" ")) == shown.split(" ")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("llama-server --api-key hush --port 80", "llama-server --api-key *** --port 80"),
        ("llama-server --api-key 'hush hush' --port 80", "llama-server --api-key *** --port 80"),
        ("HF_TOKEN=hush exec vllm serve x", "HF_TOKEN=*** exec vllm serve x"),
        ('export HF_TOKEN="hush it"; exec vllm serve x', "export HF_TOKEN=*** exec vllm serve x"),
        ("llama-server --api-key \\\n hush --port 80", "llama-server --api-key \\\n *** --port 80"),
        ("curl -H 'Authorization: Bearer hush' x", "curl -H 'Authorization: *** ***' x"),
        ("bash -c 'vllm serve --api-key hush'", "bash -c 'vllm serve --api-key ***"),
        ('os.environ["HF_TOKEN"] = "hush"', 'os.environ["HF_TOKEN"] = ***'),
    ],
)
def test_a_line_for_a_shell_loses_its_secrets_and_keeps_the_rest(line: str, shown: str) -> None:
    assert masked(["sh", "-c", line]) == ["sh", "-c", shown]


def test_json_that_holds_a_secret_is_hidden_from_there_on() -> None:
    assert masked(["--config", '{"port": 80, "api_key": "hush"}']) == ["--config", '{"port": 80, "api_key": ***']


def test_an_engine_that_quotes_a_command_line_gives_nothing_away() -> None:
    words = 'exec: "llama-server --api-key hush --port 80": executable file not found in $PATH'

    told = without_secrets(words)

    assert told.startswith('exec: "llama-server --api-key *** --port 80"')
    assert told.endswith("executable file not found in $PATH")


def test_a_long_command_is_cut_and_a_long_word_too() -> None:
    told = told_command(["x" * 10_000] * 1000)

    assert len(told) == MOST_ARGUMENTS
    assert {len(word) for word in told} == {MOST_SHOWN}


def test_of_the_environment_only_names_are_told() -> None:
    assert told_names(["B=hush", "A=hush=hush", "hush"]) == ["A", "B"]


@given(before=OTHERS, flag=FLAGS, secret=SECRETS, after=OTHERS, is_joined=st.booleans())
def test_no_argument_given_to_a_secret_flag_is_shown(
    before: list[str], flag: str, secret: str, after: list[str], is_joined: bool
) -> None:
    given_to_it = [f"{flag}={secret}"] if is_joined else [flag, secret]

    told = told_command([*before, *given_to_it, *after])

    assert MARK not in " ".join(told)


@given(before=OTHERS, flag=FLAGS, secret=SECRETS, after=OTHERS, shell=st.sampled_from(["-c", "-lc", "-ec", "run"]))
def test_no_secret_within_a_line_is_shown(
    before: list[str], flag: str, secret: str, after: list[str], shell: str
) -> None:
    line = shlex.join(["llama-server", *before, flag, secret, *after])

    told = told_command(["sh", shell, line])

    assert MARK not in " ".join(told)
