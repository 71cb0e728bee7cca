#!/usr/bin/env python3
"""A router of the shape of BenchAI's: the same functions, names and habits, good and bad, and nothing of its tools.

It runs on its own, as a script: it answers errors as content with status 200, caches identical requests for 300 s,
counts who is at a model with a semaphore, starts and restarts model servers itself, and knows of no supervisor.
What is set by the environment here is fixed in the original.
"""

import asyncio
import hashlib
import json
import os
import shlex
import sqlite3
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

ENV = os.environ
PORTS = {"general": 8091, "planner": 8092, "research": 8092, "code": 8093, "vision": 8094, "math": 8095}
MODELS: dict[str, dict[str, Any]] = {
    name: {"name": name.title(), "port": port}
    for name, port in json.loads(ENV.get("BENCHAI_PORTS", json.dumps(PORTS))).items()
}
CORE_MODELS = ["general", "planner", "code"]
HEALTH_CHECK_INTERVAL = float(ENV.get("BENCHAI_HEALTH_CHECK_INTERVAL", "60"))
COOLDOWN_S = float(ENV.get("BENCHAI_COOLDOWN_S", "30"))
START_WITHIN_S = int(ENV.get("BENCHAI_START_WITHIN_S", "90"))
START_COMMAND = shlex.split(ENV.get("BENCHAI_START_COMMAND", "llama-server"))  # the model's name and port are added
ORPHANS_COMMAND = shlex.split(ENV.get("BENCHAI_ORPHANS_COMMAND", ""))  # the original kills every llama-server
TIMEOUT_S = float(ENV.get("BENCHAI_TIMEOUT_S", "300"))
PLAN_TIMEOUT_S = float(ENV.get("BENCHAI_PLAN_TIMEOUT_S", "30"))
GPU_USED_MB = int(ENV.get("BENCHAI_GPU_USED_MB", "0"))
WAIT_FOR_TURN_S = float(ENV.get("BENCHAI_WAIT_FOR_TURN_S", "5"))
MAX_CONCURRENT_REQUESTS = {"general": 2, "planner": 2, "research": 1, "code": 1, "vision": 1}
DB_PATH = Path(ENV.get("BENCHAI_DB", "benchai_memory.db"))


class RequestCache:
    """Answers identical requests again, whatever the answer was."""

    def __init__(self, ttl_seconds: int = 300) -> None:
        self.cache: dict[str, tuple[dict[str, Any], float]] = {}
        self.ttl = ttl_seconds

    def _make_key(self, *asked: Any) -> str:
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def get(self, model: str, messages: list[dict[str, Any]], max_tokens: int) -> dict[str, Any] | None:
        """Return what was answered to the same request lately."""
        response, at_s = self.cache.get(self._make_key(model, messages, max_tokens), (None, 0.0))
        return response if response and time.time() - at_s < self.ttl else None

    def set(self, model: str, messages: list[dict[str, Any]], max_tokens: int, response: dict[str, Any]) -> None:
        """Keep an answer."""
        self.cache[self._make_key(model, messages, max_tokens)] = (response, time.time())


class MemoryManager:
    """Logs each chat to a database."""

    async def log_conversation(self, role: str, content: str) -> None:
        """Write one line."""
        with sqlite3.connect(DB_PATH) as db:
            db.execute("CREATE TABLE IF NOT EXISTS conversations (role TEXT, content TEXT)")
            db.execute("INSERT INTO conversations VALUES (?, ?)", (role, content))


class ModelManager:
    """Starts model servers, and restarts those whose `/health` does not answer."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._model_lock = asyncio.Lock()
        self._last_restart: dict[str, float] = {}
        self._cleanup_orphans()

    def _cleanup_orphans(self) -> None:
        if ORPHANS_COMMAND:
            subprocess.run(ORPHANS_COMMAND, check=False, timeout=5)
            print("[CLEANUP] Orphaned processes killed")

    async def ensure_core_models(self) -> None:
        """Start what does not run."""
        for model_type in self._core_models():
            if not await self._is_healthy(model_type, timeout_s=2.0):
                await self.start_model(model_type)

    async def health_monitor_loop(self) -> None:
        """Look after the core models, for ever."""
        while True:
            await asyncio.sleep(HEALTH_CHECK_INTERVAL)
            await self._check_and_restart_models()

    async def _check_and_restart_models(self) -> None:
        for model_type in self._core_models():
            if await self._is_healthy(model_type, timeout_s=3.0):
                continue
            if self.is_running(model_type):
                await self.stop_model(model_type)
            if time.time() - self._last_restart.get(model_type, 0.0) < COOLDOWN_S:
                continue
            self._last_restart[model_type] = time.time()
            print(f"[HEALTH] Restarting {model_type}...")
            await self.start_model(model_type)

    def is_running(self, model_type: str) -> bool:
        """Say whether it is a child of ours, and alive."""
        return model_type in self.processes and self.processes[model_type].poll() is None

    async def start_model(self, model_type: str) -> bool:
        """Start a model's server unless it is a child of ours already; say whether it answers."""
        async with self._model_lock:
            config = MODELS[model_type]
            if any(MODELS[other]["port"] == config["port"] and self.is_running(other) for other in self.processes):
                return True
            print(f"[MODEL] Starting {config['name']} ({model_type}) on port {config['port']}...")
            command = [*START_COMMAND, model_type, str(config["port"])]
            try:
                self.processes[model_type] = subprocess.Popen(command, start_new_session=True)  # noqa: ASYNC220
            except OSError as problem:
                print(f"[ERROR] Failed to start {model_type}: {problem}")
                return False
            for _ in range(START_WITHIN_S):
                if await self._is_healthy(model_type, timeout_s=2.0):
                    return True
                await asyncio.sleep(1)
            self._stop(model_type)
            return False

    async def stop_model(self, model_type: str) -> None:
        """End a child of ours."""
        async with self._model_lock:
            self._stop(model_type)

    async def stop_all(self) -> None:
        """End them all."""
        for model_type in list(self.processes):
            await self.stop_model(model_type)

    def _stop(self, model_type: str) -> None:
        process = self.processes.pop(model_type, None)
        if process:
            process.kill()
            process.wait()

    def _core_models(self) -> list[str]:
        return [name for name in CORE_MODELS if name in MODELS]

    async def _is_healthy(self, model_type: str, *, timeout_s: float) -> bool:
        try:
            async with httpx.AsyncClient() as client:
                url = f"http://127.0.0.1:{MODELS[model_type]['port']}/health"
                return (await client.get(url, timeout=timeout_s)).status_code == 200
        except httpx.HTTPError:
            return False


request_cache = RequestCache()
memory_manager = MemoryManager()
_model_semaphores: dict[str, asyncio.Semaphore] = {}
manager = ModelManager()


def check_gpu_available(min_free_mb: int = 4000) -> tuple[bool, int, int]:
    """Say whether so much GPU memory is free, and how much is used of how much; the original asks nvidia-smi."""
    used_mb, total_mb = GPU_USED_MB, 12288
    return total_mb - used_mb >= min_free_mb, used_mb, total_mb


def get_model_semaphore(model_type: str) -> asyncio.Semaphore:
    """Return what counts who is at a model."""
    return _model_semaphores.setdefault(model_type, asyncio.Semaphore(MAX_CONCURRENT_REQUESTS.get(model_type, 1)))


def chat_url(model_type: str) -> str:
    """Return where a model is asked."""
    return f"http://127.0.0.1:{MODELS[model_type]['port']}/v1/chat/completions"


async def execute_reasoning(messages: list[dict[str, Any]], model_type: str = "research", max_tokens: int = 512) -> str:
    """Have one model answer; errors are answers too."""
    if model_type not in MODELS:
        model_type = "research"
    semaphore = get_model_semaphore(model_type)
    try:
        await asyncio.wait_for(semaphore.acquire(), timeout=WAIT_FOR_TURN_S)
    except TimeoutError:
        return f"Model {model_type} is currently busy. Please try again in a moment."
    try:
        if not await manager.start_model(model_type):
            return f"Reasoning failed: Could not start {model_type} model"
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            payload = {"messages": messages, "max_tokens": max_tokens}
            reply = await client.post(chat_url(model_type), json=payload)
            if reply.status_code != 200:
                return f"Model error: HTTP {reply.status_code}"
            return str(reply.json()["choices"][0]["message"]["content"])
    except httpx.TimeoutException:
        return "Request timed out after 5 minutes"
    except Exception as problem:  # noqa: BLE001 - as the original does
        return f"Reasoning error: {problem}"
    finally:
        semaphore.release()


async def execute_reasoning_stream(
    messages: list[dict[str, Any]], model_type: str = "research", max_tokens: int = 1024
) -> AsyncGenerator[str]:
    """Have one model answer as it goes, with no regard to who else is at it."""
    if not await manager.start_model(model_type):
        yield "Reasoning failed: Could not start model"
        return
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            payload = {"messages": messages, "max_tokens": max_tokens, "stream": True}
            async with client.stream("POST", chat_url(model_type), json=payload) as reply:
                async for line in reply.aiter_lines():
                    if line == "data: [DONE]":
                        break
                    if line.startswith("data: "):
                        choices = json.loads(line[6:]).get("choices") or [{}]
                        if content := choices[0].get("delta", {}).get("content"):
                            yield content
    except Exception as problem:  # noqa: BLE001
        yield f"Streaming error: {problem}"


async def execute_vision(messages: list[dict[str, Any]], max_tokens: int = 1024) -> str:
    """Have the model with eyes answer, once there is room for it on the GPU."""
    if not check_gpu_available()[0]:
        await manager.stop_all()
        return "Vision analysis requires GPU but only 1000 MiB VRAM free (need 4000 MiB). No stoppable GPU apps found."
    if not await manager.start_model("vision"):
        return "Vision analysis failed: Could not start vision model"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            reply = await client.post(chat_url("vision"), json={"messages": messages, "max_tokens": max_tokens})
            if reply.status_code != 200:
                return f"Vision model error: HTTP {reply.status_code}"
            return str(reply.json()["choices"][0]["message"]["content"])
    except httpx.TimeoutException:
        return "Vision analysis timed out"
    except Exception as problem:  # noqa: BLE001
        return f"Vision analysis error: {problem}"


async def generate_plan(query: str) -> list[dict[str, str]]:
    """Ask the planner, past everything else, which tools to use; here that leads to `reasoning` whatever it says."""
    messages = [{"role": "user", "content": f"Answer with a JSON list of steps. {query}"}]
    try:
        async with httpx.AsyncClient(timeout=PLAN_TIMEOUT_S) as client:
            reply = await client.post(chat_url("planner"), json={"messages": messages, "max_tokens": 2})
            json.loads(reply.json()["choices"][0]["message"]["content"])
    except Exception as problem:  # noqa: BLE001
        print(f"[PLANNER] Error: {problem}")
    return [{"tool": "reasoning", "args": query}]


def detect_intent(query: str) -> str:
    """Choose the model for `auto`."""
    if "calculate" in query.lower() and "math" in MODELS:
        return "math"
    return "code" if "code" in query.lower() else "planner" if "plan" in query.lower() else "research"


class ChatMessage(BaseModel):
    """One turn of a chat."""

    role: str
    content: Any


class ChatRequest(BaseModel):
    """A chat completion request."""

    model: str = "auto"
    messages: list[ChatMessage]
    stream: bool = False
    max_tokens: int = 512


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Look after the models while the router runs."""
    monitor = asyncio.create_task(manager.health_monitor_loop())
    await manager.ensure_core_models()
    yield
    monitor.cancel()
    await manager.stop_all()


app = FastAPI(title="BenchAI LLM Router", lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])


@app.get("/health")
async def health() -> dict[str, str]:
    """Say ok."""
    return {"status": "ok", "service": "benchai-router"}


@app.get("/v1/models")
async def list_models() -> dict[str, Any]:
    """Return what may be asked for."""
    names = ["auto", *MODELS]
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "benchai"} for name in names]}


@app.post("/v1/chat/completions", response_model=None)
async def chat_completions(request: ChatRequest) -> dict[str, Any] | StreamingResponse:
    """Answer a chat; `auto`, and every name that is not known, is planned, and never streamed."""
    messages = [message.model_dump() for message in request.messages]
    if not request.stream and (cached := request_cache.get(request.model, messages, request.max_tokens)):
        return cached
    if not messages:
        raise HTTPException(400, "No user message found")
    query = str(messages[-1]["content"])
    await memory_manager.log_conversation("user", query)
    if request.model in MODELS:
        if request.stream:
            return StreamingResponse(_events(messages, request), media_type="text/event-stream")
        if request.model == "vision":
            answer = await execute_vision(messages, request.max_tokens)
        else:
            answer = await execute_reasoning(messages, request.model, request.max_tokens)
    else:
        answer = await _plan_and_execute(messages, query, request.max_tokens)
    await memory_manager.log_conversation("assistant", answer)
    response = _completion(request.model, answer)
    if not request.stream:
        request_cache.set(request.model, messages, request.max_tokens, response)
    return response


async def _plan_and_execute(messages: list[dict[str, Any]], query: str, max_tokens: int) -> str:
    answer = context = ""
    for step in await generate_plan(query):
        try:
            answer += await execute_reasoning(messages, detect_intent(step["args"]), max_tokens)
        except Exception as problem:  # noqa: BLE001
            context += f"**Error in {step['tool']}:** {problem}"
    if not answer and context:
        answer = await execute_reasoning([{"role": "user", "content": f"{query}\n{context}"}], "research", max_tokens)
    return answer or "I was unable to process your request. Please try rephrasing."


async def _events(messages: list[dict[str, Any]], request: ChatRequest) -> AsyncGenerator[str]:
    if request.model == "vision":
        yield _event(await execute_vision(messages, request.max_tokens))
    else:
        async for chunk in execute_reasoning_stream(messages, request.model, request.max_tokens):
            yield _event(chunk)
    yield "data: [DONE]\n\n"


def _event(content: str) -> str:
    return f"data: {json.dumps({'choices': [{'delta': {'content': content}}]})}\n\n"


def _completion(model: str, content: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    now_s = int(time.time())
    return {
        "id": f"chatcmpl-{now_s}",
        "object": "chat.completion",
        "created": now_s,
        "model": model,
        "choices": choices,
    }


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(ENV.get("BENCHAI_PORT", "8085")),
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
