"""The command line: ``unet-atlas list | show | compare | cost | sample | score``.

Every answer is a list of tables, printed or written in one of five formats. Bad input gets one
sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # only 'sample' may ask it, and only if set to 0

from unet_atlas import __version__, catalog
from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text

FORMATS = ("table", "markdown", "csv", "json", "html")
COLUMNS = ("key", "role", "difference")  # of the tables of a comparison
SOURCE_HELP = (
    "an id of the catalogue (see 'list'), a config.json, or a saved UNet or pipeline folder"
)

CAPTIONS_HELP = "captions: .csv, .tsv or .jsonl with a column caption, .txt, or COCO's .json"
SAMPLERS_HELP = "ddim, ddpm, pndm, euler, euler_a, heun, dpm++, unipc, or own"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0, or 2 for bad input)."""
    options = _parser().parse_args(argv)
    try:
        text = _render(options.run(options), options)
        if options.output is None:
            _print(text)
        else:
            write_text(options.output, text)
    except AtlasError as error:
        # a path may hold line breaks and the terminal's control characters
        message = "".join(c if c.isprintable() else " " for c in str(error))
        print(f"unet-atlas: {message}", file=sys.stderr)
        return 2
    return 0


def _print(text: str) -> None:
    """Write to stdout, whatever its encoding; a closed pipe (``unet-atlas list | head``) is fine.

    Raises:
        AtlasError: stdout can't take the text: its disk is full.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # else the interpreter tries once more, and complains, on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise AtlasError(f"The answer can't be written: {error.strerror}.") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unet-atlas",
        description="The UNets of the Stable Diffusion family, built, measured and compared.",
        epilog="Example: unet-atlas compare sd-1.5 sdxl-base-1.0",
    )
    parser.add_argument("--version", action="version", version=f"unet-atlas {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _command(commands, "list", _list, "the models of the catalogue")
    show = _command(commands, "show", _show, "one or more models, stage by stage")
    show.add_argument("sources", nargs="+", metavar="X", help=SOURCE_HELP + "; or 'all'")
    show.add_argument(
        "--blocks", action="store_true", help="one row a block instead of one a stage"
    )
    for command in (show, _compare_command(commands), _cost_command(commands)):
        size = command.add_mutually_exclusive_group()
        size.add_argument(
            "--resolution", type=int, help="side of the image in pixels (8 a latent cell)"
        )
        size.add_argument("--latent", type=int, help="side of the latent in cells")
    _sample_command(commands)
    _score_command(commands)
    return parser


def _compare_command(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    about = "two or more models, paired by resolution level"
    compare = _command(commands, "compare", _compare, about)
    compare.add_argument("sources", nargs="+", metavar="X", help=SOURCE_HELP)
    compare.add_argument(
        "--part",
        choices=("all", "stages", "config", "parameters"),
        default="all",
        help="which table (default: all; with --format csv: stages)",
    )
    return compare


def _cost_command(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    about = "MACs by stage and operation, and bytes, of a forward pass"
    cost = _command(commands, "cost", _cost, about)
    cost.add_argument("sources", nargs="+", metavar="X", help=SOURCE_HELP)
    cost.add_argument("--batch", type=int, default=1, help="images at once (default: 1)")
    cost.add_argument("--tokens", type=int, default=77, help="length of the text (default: 77)")
    cost.add_argument(
        "--dtype", default="fp16", help="fp32, fp16 or bf16, for the bytes (default: fp16)"
    )
    return cost


def _sample_command(commands: argparse._SubParsersAction) -> None:
    about = "draw one picture a caption into a folder"
    command = _command(commands, "sample", _sample, about, writes_a_folder=True)
    command.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="a model of the mini family or a pipeline folder; by default what UNET_ATLAS_WEIGHTS "
        "names",
    )
    texts = command.add_mutually_exclusive_group(required=True)
    texts.add_argument("--captions", type=Path, metavar="FILE", help=CAPTIONS_HELP)
    texts.add_argument("--prompt", nargs="+", metavar="TEXT", help="one caption or more")
    add = command.add_argument
    add("--steps", type=int, default=25, help="denoising steps (default: 25)")
    add("--guidance", type=float, default=5.0, help="1 is none (default: 5)")
    add("--sampler", default="ddim", help=f"{SAMPLERS_HELP} (default: ddim)")
    add("--negative", default="", metavar="TEXT", help="what not to draw")
    add("--seed", type=int, default=0, help="base seed of the run (default: 0)")
    add("--batch", type=int, default=16, help="pictures at once; changes none (default: 16)")
    add("--limit", type=int, metavar="N", help="no more than the first N captions")
    add("--resume", action="store_true", help="go on with the run that the folder holds")
    add("--device", default="best", help="cpu, cuda, mps or best (default: best)")
    add("--dtype", help="fp32, fp16 or bf16 (default: what suits the device)")
    add("--image", type=Path, metavar="FILE", help="the image that unCLIP varies")
    add("--noise-level", type=int, metavar="N", help="noise on unCLIP's image embedding")
    for name, words in (("original-size", "H W"), ("crop", "TOP LEFT"), ("target-size", "H W")):
        about = f"SDXL's {name.replace('-', ' ')} conditioning, in pixels"
        add(f"--{name}", nargs=2, type=int, metavar=tuple(words.split()), help=about)


def _score_command(commands: argparse._SubParsersAction) -> None:
    command = _command(commands, "score", _score, "FID, KID and CLIP score of a folder of pictures")
    add = command.add_argument
    add("pictures", metavar="FOLDER", type=Path, help="png, jpg or webp images, all of one size")
    add(
        "--captions",
        type=Path,
        metavar="FILE",
        help=f"{CAPTIONS_HELP}; by default FOLDER/captions.csv",
    )
    add("--reference", type=Path, metavar="X", help="a folder of images, or an .npz of features")
    add("--clip", default="mini-scorer", metavar="X", help="a folder with a CLIP model")
    add("--features", choices=("clip", "inception"), default="clip", help="of FID and KID")
    add("--inception-weights", type=Path, metavar="FILE", help="torch-fidelity's file of weights")
    add("--oracle", action="store_true", help="also read pictures of the picture world back")
    add("--subset", action="store_true", help="allow captions that have no picture")
    add("--prefix", default="", metavar="TEXT", help="put before each caption for the CLIP score")
    add("--resamples", type=int, default=200, help="of the bootstrap (default: 200)")
    add("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    add("--device", default="best", help="cpu, cuda, mps or best (default: best)")
    add(
        "--save-reference",
        type=Path,
        metavar="FILE",
        help="store FOLDER's features as .npz, to compare other folders with",
    )


def _command(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable,
    about: str,
    writes_a_folder: bool = False,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    command.set_defaults(run=run)
    command.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    if writes_a_folder:
        command.set_defaults(output=None)
        about = "folder for the pictures, captions.csv and provenance.json"
        command.add_argument(
            "--output", dest="folder", type=Path, required=True, metavar="FOLDER", help=about
        )
    else:
        command.add_argument(
            "--output", type=Path, metavar="FILE", help="write to FILE instead of stdout"
        )
    return command


def _list(options: argparse.Namespace) -> list:
    from unet_atlas.tables import models_table

    return [models_table(catalog.models())]


def _show(options: argparse.Namespace) -> list:
    from unet_atlas import anatomy, build, tables

    shown = []
    named = (catalog.ids() if s == "all" else (s,) for s in options.sources)
    for source in itertools.chain.from_iterable(named):
        unet = build.build_unet(source)
        if options.blocks:
            shown.append(tables.block_table(unet.atlas_label, anatomy.blocks(unet)))
        else:
            rows = anatomy.stages(unet, options.resolution, options.latent)
            shown.append(tables.stage_table(unet.atlas_label, rows))
    return shown


def _compare(options: argparse.Namespace) -> list:
    from unet_atlas import build, compare, tables

    unets = [build.build_unet(s) for s in options.sources]
    paired = compare.compare(unets, None, options.resolution, options.latent)
    labels = _distinct(paired.labels)
    shown = [tables.comparison_table(compare.Comparison(labels, paired.rows))]
    shown.append(
        tables.config_table(labels, compare.config_delta(*(dict(u.config) for u in unets)))
    )
    for other, label in zip(unets[1:], labels[1:], strict=True):
        deltas = compare.parameter_delta(unets[0], other)
        shown.append(tables.delta_table((labels[0], label), deltas))
    part = "stages" if options.part == "all" and options.format == "csv" else options.part
    return shown if part == "all" else [t for t in shown if t.name == part]


def _cost(options: argparse.Namespace) -> list:
    from unet_atlas import build, cost, tables
    from unet_atlas.device import parse_dtype

    size = (options.resolution, options.latent, options.batch, options.tokens)
    dtype, shown = parse_dtype(options.dtype), []
    for source in options.sources:
        unet = build.build_unet(source, dtype=dtype)
        shown.append(tables.cost_table(unet.atlas_label, cost.count(unet, *size)))
        shown.append(tables.memory_table(unet.atlas_label, cost.memory(unet, *size)))
    return [t for t in shown if t.name == "macs"] if options.format == "csv" else shown


def _sample(options: argparse.Namespace) -> list:
    from unet_atlas import sampling
    from unet_atlas.device import parse_device, parse_dtype
    from unet_atlas.images import Captions, read_captions

    recipe = sampling.Recipe(options.sampler, options.steps, options.guidance, options.negative)
    source = options.source or sampling.source()
    if source is None:
        raise AtlasError("No model is named; name one, or set UNET_ATLAS_WEIGHTS.")
    if options.limit is not None and options.limit < 1:
        raise AtlasError(f"The first {options.limit} captions can't be drawn; give 1 or more.")
    given = options.prompt
    captions = Captions(tuple(given)) if given else read_captions(options.captions)
    conditioning = _conditioning(options)
    dtype = parse_dtype(options.dtype) if options.dtype else None
    pipeline = sampling.load_pipeline(source, parse_device(options.device), dtype)
    try:
        facts = sampling.sample_into(
            options.folder,
            pipeline,
            captions.first(options.limit),
            recipe,
            base_seed=options.seed,
            batch=options.batch,
            resume=options.resume,
            progress=sys.stderr.isatty(),
            **conditioning,
        )
    except KeyboardInterrupt:
        raise AtlasError("Interrupted; the same command with --resume goes on with it.") from None
    return [sampling.run_table(options.folder, facts)]


def _conditioning(options: argparse.Namespace) -> dict:
    """What SDXL and unCLIP take beside the caption, under diffusers' names."""
    from unet_atlas.images import read_image

    given = {
        "image": None if options.image is None else read_image(options.image),
        "noise_level": options.noise_level,
        "original_size": options.original_size,
        "crops_coords_top_left": options.crop,
        "target_size": options.target_size,
    }
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }


def _score(options: argparse.Namespace) -> list:
    from unet_atlas import scoring
    from unet_atlas.device import parse_device

    table = scoring.score(
        options.pictures,
        captions=options.captions,
        reference=options.reference,
        save_reference=options.save_reference,
        clip=options.clip,
        features=options.features,
        inception=options.inception_weights,
        device=parse_device(options.device),
        oracle=options.oracle,
        subset=options.subset,
        prefix=options.prefix,
        resamples=options.resamples,
        seed=options.seed,
    )
    return [table]


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels that tell the models apart, and from the columns that they stand beside."""
    clear = {label for label in labels if labels.count(label) == 1} - set(COLUMNS)
    return tuple(
        label if label in clear else f"{label} ({labels[: i + 1].count(label)})"
        for i, label in enumerate(labels)
    )


def _render(shown: list, options: argparse.Namespace) -> str:
    match options.format:
        case "csv":
            return _csv(shown)
        case "json":
            tables = [{"table": t.name, "caption": t.caption, "rows": t.records()} for t in shown]
            return (
                json.dumps(tables[0] if len(tables) == 1 else tables, indent=1, ensure_ascii=False)
                + "\n"
            )
        case "html":
            return "\n".join(t.to_html() for t in shown) + "\n"
        case "markdown":
            return "\n\n".join(t.to_markdown() for t in shown) + "\n"
        case _:
            return "\n\n".join(t.to_text() for t in shown) + "\n"


def _csv(shown: list) -> str:
    """One CSV: several tables of one kind are put below each other, told apart by their caption."""
    if len(shown) == 1:
        return shown[0].to_csv()
    import pandas as pd

    labelled = [t.data.assign(model=t.caption.split(":")[0]) for t in shown]
    frame = pd.concat(labelled)
    return frame[["model", *(c for c in frame if c != "model")]].to_csv(index=False)


if __name__ == "__main__":
    sys.exit(main())
