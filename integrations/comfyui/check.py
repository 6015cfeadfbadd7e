"""Run the example workflows in a real ComfyUI and compare their frames with ``vap generate``.

Run it with the Python of ComfyUI, where video-as-prompt is installed::

    python integrations/comfyui/check.py path/to/ComfyUI

It needs no GPU and leaves the checkout as it is. ``--draw`` writes the workflows and their
pictures from the API files again, which needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from vap.files.names import BUNDLED_FOLDER

PACK = Path(__file__).parent
EXAMPLES = PACK / "example_workflows"
ORDER = ("effect", "reference", "two-references", "video-prompt", "reference-with-lora", "captions")
CAR = "a teal car on a beach under a grey sky"
SNAIL = "a red snail in a room with teal wallpaper"
CASTLE = "a yellow castle among sand dunes under an orange sky"
SAVED = "models/vap_video_prompts/two-references.safetensors"
# The same videos on the command line; files are below the base folder of ComfyUI.
COMMANDS = {
    "effect": ["--effect", "underwater", "--prompt", CASTLE],
    "reference": [
        *("--reference", "input/reference.mp4", "--reference-prompt", CAR),
        *("--prompt", CASTLE),
    ],
    "two-references": [
        *("--reference", "input/reference.mp4", "--reference-prompt", CAR),
        *("--reference", "input/second-reference.mp4", "--reference-prompt", SNAIL),
        *("--prompt", CASTLE, "--seed", "1", "--strength", "0.9"),
        *("--reference-guidance", "2.5"),
    ],
    "video-prompt": ["--video-prompt", SAVED, "--prompt", CASTLE, "--seed", "2"],
    "reference-with-lora": [
        *("--reference", "input/reference.mp4", "--reference-prompt", CAR),
        *("--lora", "models/loras/lora.safetensors:0.8", "--prompt", CASTLE, "--seed", "3"),
    ],
    "captions": ["--reference", "input/reference.mp4", "--seed", "4"],
}
# What ComfyUI imports and a machine without them can do without; no node of an example uses it.
STUBS = {
    "torchvision": "from . import transforms\n",
    "torchvision/transforms": "",
    "torchaudio": "from . import transforms\n",
    "torchaudio/transforms": "class MelScale: ...\n",
}
# transformers and diffusers look for torchvision once, and must not find the stub.
START = """
import runpy, sys
import diffusers.utils.import_utils
from transformers.utils.import_utils import is_torchvision_available
is_torchvision_available()
sys.path[:0] = [{comfyui!r}]
sys.path.append({stubs!r})
runpy.run_path("main.py", run_name="__main__")
"""


def main() -> None:
    """Check all examples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comfyui", type=Path, help="Checkout of ComfyUI.")
    parser.add_argument("--draw", action="store_true", help="Write workflows and pictures again.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        prepare(base)
        with serving(given.comfyui.resolve(), base) as address:
            for name in ORDER:
                graph = json.loads((EXAMPLES / "api" / f"{name}.json").read_text())
                made, expected = frames_of(address, graph), generated(base, name)
                if made.shape != expected.shape or (made != expected).any():
                    sys.exit(f"{name}: the frames differ from those of vap generate.")
                print(f"{name}: {len(made)} frames equal those of vap generate")
            print(f"interrupt: {asyncio.run(interrupted(address))}")
            if given.draw:
                draw(address)


def prepare(base: Path) -> None:
    """Make a base folder for ComfyUI with this pack, inputs, a LoRA and stubs."""
    for name in ("custom_nodes", "input", "models/loras", "models/vap_video_prompts", "stubs"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes" / "video-as-prompt").symlink_to(PACK.resolve())
    shutil.copy(BUNDLED_FOLDER / "demo/reference.mp4", base / "input")
    for name in ("image.png", "example.png"):  # the second is one that ComfyUI brings
        shutil.copy(BUNDLED_FOLDER / "demo/image.png", base / "input" / name)
    second = BUNDLED_FOLDER / "effects/burn/reference.mp4"
    shutil.copy(second, base / "input/second-reference.mp4")
    drawer = torch.Generator().manual_seed(0)
    config = json.loads((BUNDLED_FOLDER / "vap-mini/transformer/config.json").read_text())
    width = config["num_attention_heads"] * config["attention_head_dim"]
    layer = "diffusion_model.blocks.0.self_attn.q"
    parts = {"down": (4, width), "up": (width, 4)}
    lora = {
        f"{layer}.lora_{part}.weight": 0.1 * torch.randn(size, generator=drawer)
        for part, size in parts.items()
    }
    save_file(lora, base / "models/loras/lora.safetensors")
    for package in {name.partition("/")[0] for name in STUBS}:
        try:
            __import__(package)
        except ImportError:
            for name in (each for each in STUBS if each.partition("/")[0] == package):
                (base / "stubs" / name).mkdir(parents=True)
                (base / "stubs" / name / "__init__.py").write_text(STUBS[name])


@contextmanager
def serving(comfyui: Path, base: Path) -> Iterator[str]:
    """Run ComfyUI on a CPU, and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    command = [
        *(sys.executable, "-c", START.format(comfyui=str(comfyui), stubs=str(base / "stubs"))),
        *("--cpu", "--port", str(port), "--base-directory", str(base)),
        *("--database-url", "sqlite:///:memory:", "--disable-api-nodes"),
    ]
    log = base / "comfyui.log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=comfyui, env=environment(base), stdout=output, stderr=output
        )
    try:
        for _ in range(600):
            try:
                known = call(address, "object_info")
                break
            except urllib.error.URLError:
                if process.poll() is not None:
                    sys.exit(log.read_text()[-5000:])
                time.sleep(0.5)
        else:
            sys.exit(log.read_text()[-5000:])
        if "VapSample" not in known:
            sys.exit("ComfyUI has not loaded the nodes:\n" + log.read_text()[-5000:])
        yield address
    except BaseException:
        sys.stderr.write(log.read_text()[-5000:])
        raise
    finally:
        process.terminate()
        process.wait()


def environment(base: Path) -> dict[str, str]:
    """The environment of all processes: the same threads, and effects that stay in the folder."""
    return {
        **os.environ,
        "XDG_DATA_HOME": str(base / "data"),
        "OMP_NUM_THREADS": "1",
        "VAP_CAPTIONER": "none",
    }


def call(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask ComfyUI, and parse its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}/{path}", data)
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            content = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{path}: {error} {error.read().decode()}")
    is_json = answer.headers.get_content_type() == "application/json"
    return json.loads(content) if is_json else content


def frames_of(address: str, graph: dict[str, Any]) -> np.ndarray:
    """Run a graph, and return the frames that its decoder makes."""
    (decoder,) = (key for key, node in graph.items() if node["class_type"] == "VapDecode")
    preview = {"class_type": "PreviewImage", "inputs": {"images": [decoder, 0]}}
    asked = call(address, "prompt", {"prompt": {**graph, "frames": preview}})
    history: dict[str, Any] = {}
    while asked["prompt_id"] not in history:
        time.sleep(0.2)
        history = call(address, f"history/{asked['prompt_id']}")
    ended = history[asked["prompt_id"]]
    if ended["status"]["status_str"] != "success":
        sys.exit(json.dumps(ended["status"], indent=2))
    frames = []
    for image in ended["outputs"]["frames"]["images"]:
        query = "&".join(f"{key}={value}" for key, value in image.items())
        content = call(address, f"view?{query}")
        frames.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    return np.stack(frames)


def generated(base: Path, name: str) -> np.ndarray:
    """Frames that the command line makes."""
    out = base / "expected" / name
    out.mkdir(parents=True)
    command = [sys.executable, "-m", "vap", "generate", *COMMANDS[name]]
    command += ["--image", "input/image.png", "--output", str(out), "--device", "cpu"]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=base, env=environment(base), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return np.stack([np.asarray(Image.open(file)) for file in sorted(out.glob("*.png"))])


async def interrupted(address: str) -> str:
    """Interrupt a long run after its first previews; return what happened."""
    import aiohttp  # ComfyUI brings it

    graph = json.loads((EXAMPLES / "api/reference.json").read_text())
    (sampler,) = (node for node in graph.values() if node["class_type"] == "VapSample")
    sampler["inputs"]["steps"] = 1000
    steps, previews = 0, 0
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{address}/ws?clientId=check") as socket_,
    ):
        body = {"prompt": graph, "client_id": "check"}
        await session.post(f"http://{address}/prompt", json=body)
        async for message in socket_:
            if message.type == aiohttp.WSMsgType.BINARY:
                previews += 1
                continue
            event = json.loads(message.data)
            if event["type"] == "progress":
                steps = event["data"]["value"]
                if previews:
                    await session.post(f"http://{address}/interrupt", json={})
            if event["type"] in {"execution_error", "execution_success"}:
                sys.exit(f"interrupt: {event}")
            if event["type"] == "execution_interrupted":
                return f"stopped after {steps} of 1000 steps and {previews} previews"
    sys.exit("interrupt: the connection ended.")


# Nodes in columns from left to right; one without inputs stands before the first that it serves.
LAYOUT = """
async ([graph, name, pictures]) => {
  const app = window.comfyAPI.app.app;
  await app.loadApiJson(graph, name);
  const before = id => Object.values(graph[id].inputs).filter(Array.isArray).map(link => link[0]);
  const after = id => Object.keys(graph).filter(other => before(other).includes(id));
  const depth = id => Math.max(0, ...before(id).map(other => depth(other) + 1));
  const column = id => before(id).length || !after(id).length
    ? depth(id) : Math.max(0, Math.min(...after(id).map(depth)) - 1);
  const columns = [];
  for (const id of Object.keys(graph)) (columns[column(id)] ??= []).push(id);
  let [x, bottom] = [0, 0];
  for (const ids of columns) {
    let [y, right] = [0, 0];
    for (const id of ids) {
      const node = app.graph.getNodeById(id);
      for (const widget of node.widgets ?? [])
        if (widget.name === "control_after_generate") widget.value = "fixed";
      const shown = pictures.includes(node.type);
      node.setSize([Math.max(shown ? 240 : 270, node.size[0]), shown ? 300 : node.size[1]]);
      node.pos = [x, y];
      y += node.size[1] + 70;
      right = Math.max(right, node.size[0]);
    }
    x += right + 60;
    bottom = Math.max(bottom, y);
  }
  const canvas = app.canvas;
  const place = canvas.canvas.getBoundingClientRect();
  const scale = Math.min(place.width / (x + 60), 1);
  canvas.ds.scale = scale;
  canvas.ds.offset = [60, 90];
  canvas.show_info = false;
  canvas.low_quality_zoom_threshold = 0.1;
  canvas.setDirty(true, true);
  const sent = (await app.graphToPrompt()).output;
  const clip = {x: place.x, y: place.y, width: scale * (x + 60), height: scale * (bottom + 60)};
  return [app.graph.serialize(), sent, clip];
}
"""
PICTURES = ["LoadImage", "LoadVideo", "SaveVideo"]


def draw(address: str) -> None:
    """Write each workflow as ComfyUI saves it, and its picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in ORDER:
            graph = json.loads((EXAMPLES / "api" / f"{name}.json").read_text())
            # A page of its own: pictures of a node would stay for the next of its number.
            page = browser.new_page(viewport={"width": 2000, "height": 1300})
            page.goto(f"http://{address}/")
            page.wait_for_function("window.comfyAPI?.app?.app?.vueAppReady", timeout=120_000)
            page.wait_for_timeout(2000)
            page.add_style_tag(content="body > div:not(#vue-app) {display: none !important}")
            workflow, sent, clip = page.evaluate(LAYOUT, [graph, name, PICTURES])
            for key, node in graph.items():
                if node["inputs"] != {k: sent[key]["inputs"].get(k) for k in node["inputs"]}:
                    sys.exit(f"{name}: node {key} of the page differs: {sent[key]}")
            workflow["extra"] = {}
            (EXAMPLES / f"{name}.json").write_text(json.dumps(workflow) + "\n")
            page.wait_for_timeout(2000)  # pictures of the inputs
            # ComfyUI shows it among its templates, for which it must be JPEG.
            picture = EXAMPLES / f"{name}.jpg"
            page.screenshot(path=picture, clip=clip, type="jpeg", quality=80)
            page.close()
            print(f"{name}: drawn")
        browser.close()


if __name__ == "__main__":
    main()
