"""Talks to the gateway as a program with OpenAI's library would: client.py BASE KEY MODEL."""

import sys

import openai

base, key, model = sys.argv[1:]
client = openai.OpenAI(base_url=base, api_key=key, max_retries=0)
messages = [{"role": "user", "content": "What is 4812 + 977?"}]
thinking = {"thinking": {"type": "enabled"}}

answer = client.chat.completions.create(model=model, messages=messages, temperature=0,
                                        extra_body=thinking)
assert answer.choices[0].message.content == "5789", answer
assert answer.choices[0].message.reasoning_content, answer
assert answer.usage.prompt_cache_miss_tokens == 18, answer.usage

text, reasoning, usage = "", "", None
for chunk in client.chat.completions.create(model=model, messages=messages, temperature=0,
                                            stream=True, stream_options={"include_usage": True},
                                            extra_body=thinking):
    usage = chunk.usage or usage
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
        reasoning += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
assert text == "5789", text
assert reasoning == answer.choices[0].message.reasoning_content, reasoning
assert usage.prompt_tokens_details.cached_tokens == 17, usage

try:
    openai.OpenAI(base_url=base, api_key="wrong", max_retries=0).models.list()
except openai.AuthenticationError as error:
    assert "API key" in error.message, error
else:
    raise AssertionError("a wrong key is right")
print("ok")
