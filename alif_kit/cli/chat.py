"""cli: `alif chat` and `alif serve`.

In: a run, or any model. Out: a conversation in the terminal or on a page; an OpenAI-compatible endpoint by an existing server.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option, echo, prompt

import alif_kit as ak
from alif_kit.cli.options import PresetOption, SetOption, folder_of, pairs, resume_run
from alif_kit.core import UserError
from alif_kit.platforms import machine

PASSWORD = "ALIF_CHAT_PASSWORD"
_HELP = {
    "model": "Instead of the run's: an adapter's folder, a model, a Hub id, a .gguf file, `http…/v1#NAME`.",
    "base": "The model to show beside it, where that is not the run's or the adapter's own base.",
    "share": "With --web: a public link through gradio's relay too; asks for a password.",
    "password": f"With --web: at least 8 characters; the user is `alif`. Or the secret {PASSWORD}, unseen by `ps`.",
}
RunOption = Annotated[Path | None, Option("--run", help="Folder of a finished run; nothing in it is changed.")]


def chat(
    run: RunOption = None,
    preset: PresetOption = "auto",
    changes: SetOption = None,
    model: Annotated[str | None, Option("--model", help=_HELP["model"])] = None,
    base: Annotated[str | None, Option("--base", help=_HELP["base"])] = None,
    web: Annotated[bool, Option("--web", help="A page in the browser instead of the terminal.")] = False,
    system: Annotated[str | None, Option(help="System line; default the one the run was tuned with.")] = None,
    temperature: Annotated[float, Option(min=0.0, max=1.5, help="0 takes the likeliest token each time.")] = 0.7,
    max_tokens: Annotated[int, Option("--max-tokens", min=16, max=2048, help="Longest answer, in tokens.")] = 512,
    port: Annotated[int, Option(help="With --web: port on 127.0.0.1; 0 takes the first free one from 7860.")] = 0,
    browser: Annotated[bool, Option(help="With --web: open the page in the browser.")] = True,
    share: Annotated[bool, Option("--share", help=_HELP["share"])] = False,
    password: Annotated[str, Option("--password", help=_HELP["password"])] = "",
) -> None:
    """Talk to the tuned model in the terminal, or on a page (--web) in Urdu and English, beside its base if you like.

    Without --model: the run's merged model, else its fine-tuned adapter. In the terminal: /reset, /system TEXT, /exit; Ctrl-C stops
    an answer. The page needs the extra `review` (gradio), a GGUF the extra `llama`; an endpoint's key is the secret
    ALIF_ENDPOINT_KEY.
    """
    from alif_kit import pipeline
    from alif_kit.chat import speakers
    from alif_kit.chat.talk import Wishes

    if share and not web:
        raise UserError("--share shows a page to others, and there is none; add --web")
    if password and not web:
        raise UserError("--password is for the page, and there is none; add --web")
    secret = _password(password, share) if web else ""
    opened = _run(run, preset, changes, model)
    speaker, beside = speakers.choose(opened, model, base, partial(pipeline._resolve, opened))
    if not (model and speakers.is_endpoint(model)):
        echo(f"loading {speaker.name}", err=True)
    speaker.ready()
    wishes = Wishes(opened.config.mixture.system if system is None else system, temperature, max_tokens)
    if web:
        _page(opened, model, speaker, beside, wishes, {"port": port, "open_browser": browser, "share": share, "password": secret})
        return
    from alif_kit.chat import terminal

    if hasattr(sys.stdout, "reconfigure"):  # UTF-8 whatever the locale says: an Urdu answer must not end in an encoding error
        sys.stdout.reconfigure(encoding="utf-8")
    terminal.converse(speaker, wishes)


def _run(path: Path | None, preset: str, changes: list[str] | None, model: str | None) -> ak.Run:
    """The run to talk to, with changes for this conversation only; a bare configuration where only --model is named.

    Raises UserError when there is neither.
    """
    folder, given = folder_of(path), pairs(changes)
    saved = folder / "config.json"
    meant = path or not model or Path(model).resolve().is_relative_to(folder.resolve())
    if saved.is_file() and meant:
        return ak.Run(folder, ak.load_config(saved, given))
    if meant:
        raise UserError(f"{folder} holds no config.json; name a finished run with --run, or a model with --model")
    named = machine.pick_preset(machine.detect())[0] if preset == "auto" else preset
    return ak.Run(machine.durable_folder(), ak.load_config(named, given))


def _password(given: str, share: bool) -> str:
    """The page's password: the option, the secret, or, for a public link, what a person types unseen."""
    from alif_kit.chat import page

    password = given or machine.find_secret(PASSWORD)
    if share and not password and sys.stdin.isatty():
        password = prompt("password for the public page (at least 8 characters)", hide_input=True, confirmation_prompt=True)
    page.check_password(password, share)
    return password


def _page(run: ak.Run, model: str | None, speaker: Any, base: Any, wishes: Any, how: dict[str, Any]) -> None:
    from alif_kit.chat import page, speakers
    from alif_kit.chat.talk import standing

    own = not model or speakers.is_of(run, model)
    stands = standing(speaker.name, run if own else None)
    review_file = run.file("release", "flagged.jsonl") if run.file("config.json").is_file() else run.file("flagged.jsonl")
    blocks = page.build(page.Chat(speaker, stands, review_file, base, wishes, run.config.language))
    address = page.launch(blocks, **how)
    echo(f"chat: {address} (Ctrl+C ends it; flagged answers go to {review_file})")
    if how["password"]:
        echo(f"user {page.USER}, and the password you gave")
    blocks.block_thread()


def serve(
    run: RunOption = None,
    model: Annotated[str | None, Option(help="Instead of the run's: a .gguf file, a model's folder, a Hub id.")] = None,
    port: Annotated[int, Option(min=1, max=65535, help="Port.")] = 8000,
    host: Annotated[str, Option(help="Address to listen on; 0.0.0.0 lets the whole network in.")] = "127.0.0.1",
) -> None:
    """An OpenAI-compatible endpoint for the run's merged model, or for any GGUF or folder, by a server that exists already.

    A GGUF: llama.cpp's server (extra `llama`). A folder: vLLM where it is installed, else `transformers serve`. With the secret
    ALIF_ENDPOINT_KEY, llama.cpp and vLLM ask callers for it.
    """
    from alif_kit.chat import serve as serving

    found = serving.plan(model or _released(run), port, host)
    echo(f"{found.server}: {found.address}")
    echo(f"try it: {found.curl()}")
    echo(f"talk to it: alif chat --model {found.address}#{found.name}")
    if host not in serving.LOOPBACK and not found.secrets:
        echo("note: whoever reaches this machine can use the model; no key is asked for", err=True)
    serving.run(found)


def _released(path: Path | None) -> str:
    """What a run has for a server: the merged model, else its only GGUF."""
    run = resume_run(path)
    if not (run.file("release", "merged") / "SHA256SUMS").is_file() and any(run.file("release", "gguf").glob("*.gguf")):
        return str(run.file("release", "gguf"))
    return str(run.require("release", "merged", stage="merge"))
