"""What a real llama.cpp server (xllamacpp 2026.10, a tiny model) sent, byte for byte but for its ids and timings."""

_CHAT_HEAD = '"created":1795458898,"id":"chatcmpl-aDC8DuxJAMndnhyn0Yqz2N5tN1gzRHAT","model":"general"'
_CHAT_TAIL = f'{_CHAT_HEAD},"system_fingerprint":"b0-unknown","object":"chat.completion.chunk"'
_USAGE = (
    '"usage":{"completion_tokens":2,"prompt_tokens":24,"total_tokens":26,"prompt_tokens_details":{"cached_tokens":0}}'
)
_COMPLETION_TAIL = '"created":1795458898,"model":"general","system_fingerprint":"b0-unknown","object":"text_completion"'


def _stream(*events: str) -> bytes:
    return "".join(f"data: {event}\n\n" for event in (*events, "[DONE]")).encode()


CHAT = _stream(
    f'{{"choices":[{{"finish_reason":null,"index":0,"delta":{{"role":"assistant","content":null}}}}],{_CHAT_TAIL}}}',
    f'{{"choices":[{{"finish_reason":null,"index":0,"delta":{{"content":" some"}}}}],{_CHAT_TAIL}}}',
    f'{{"choices":[{{"finish_reason":null,"index":0,"delta":{{"content":" that"}}}}],{_CHAT_TAIL}}}',
    f'{{"choices":[{{"finish_reason":"length","index":0,"delta":{{}}}}],{_CHAT_TAIL}}}',
    f'{{"choices":[],{_CHAT_TAIL},{_USAGE}}}',
)
COMPLETION = _stream(
    f'{{"choices":[{{"text":" water","index":0,"logprobs":null,"finish_reason":null}}],{_COMPLETION_TAIL}}}',
    f'{{"choices":[{{"text":" if","index":0,"logprobs":null,"finish_reason":null}}],{_COMPLETION_TAIL}}}',
    f'{{"choices":[{{"text":"","index":0,"logprobs":null,"finish_reason":"length"}}],{_COMPLETION_TAIL},{_USAGE}}}',
)
EMBEDDINGS = (
    b'{"model":"general","object":"list","usage":{"prompt_tokens":5,"total_tokens":5},"data":[{"embedding":'
    b"[0.35783833265304565,0.01948218233883381,-0.02878006175160408,0.17642030119895935,-0.17520898580551147]"
    b',"index":0,"object":"embedding"}]}'
)
