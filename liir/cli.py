"""Learn visual correspondence from unlabelled video, and carry labels through a video.

usage: liir VERB ...          liir VERB --help tells all about one

  liir track VIDEO --annotation 0=mask.png --out DIR
      label a whole video from one annotated frame, or a folder of videos
  liir train FOLDER --out DIR --minutes 60
      learn features from videos that nobody labelled
  liir evaluate davis2016 ROOT --model small
      score a model on a benchmark
  liir ablate ladder ROOT --footage FOLDER --out DIR
      train and score the parts of the method one by one, or the values of a setting
  liir show FIGURE ... --out FILE
      draw overlay, sheet, components, results, affinity, features, errors or curves
  liir convert FILE.pth --out FILE.safetensors      weights of the public MAST or LIIR code
  liir adapt VIDEO --from small --minutes 5 --out my.safetensors
      make features better for your own footage, without a label
  liir serve VIDEO
      annotate, propagate, correct and export in the browser
  liir --version

Exit code: 0 done, 1 out of memory or an error in liir, 2 bad input (one line says what and how
to mend it), 130 interrupted (0 where torchrun started it, which would start it again).
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from liir import __version__, footage, presets
from liir.errors import InputError, ToldElsewhere
from liir.evaluation.ablate import ablate
from liir.evaluation.command import evaluate
from liir.inputs import nearest
from liir.launch import is_first, size
from liir.settings import parse_settings
from liir.terminal import (
    Count,
    Dtype,
    Name,
    bar,
    check_file,
    check_out,
    one_line,
    out_of_memory,
    set_threads,
    with_flags,
)

# Torch takes seconds to import: the verbs do so once their options are read.
if TYPE_CHECKING:
    from liir.jobs import Job
    from liir.labelling import Summary

_log = logging.getLogger(__name__)


def _names(config: type) -> str:
    return ", ".join(field.name for field in dataclasses.fields(config))


Files = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[FRAME=]FILE")]
Tracking = Annotated[
    UseAppendAction[tuple[str, ...]],
    arg(
        name="set",
        metavar="FIELD=VALUE",
        help="Another tracking setting, such as radius=14, topk=5 or recent=7,5,3,1. There are: "
        + _names(presets.TrackingConfig)
        + ".",
    ),
]
Learning = Annotated[
    UseAppendAction[tuple[str, ...]],
    arg(
        name="set",
        metavar="FIELD=VALUE",
        help="Another setting of the training or model, such as crop=256 or position=none; with "
        "tracking. before it, one of the tracking that the weights are for. docs/training.md says "
        "what they are for. Of the training: "
        + f"{_names(presets.TrainingConfig)}; of the model: {_names(presets.ModelConfig)}.",
    ),
]
Place = Annotated[Path, arg(metavar="DIR")]
Frame = Annotated[int, arg(metavar="FRAME")]
Last = Annotated[int | None, arg(name="end", metavar="FRAME")]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; `argv` is without the program's name. Returns the exit code."""
    words = [*(sys.argv[1:] if argv is None else argv)]
    if words == ["--version"]:
        print(f"liir {__version__}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print(__doc__.strip(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    logging.addLevelName(logging.WARNING, "warning")  # as "liir: error:" is written
    logging.basicConfig(format="liir: %(levelname)s: %(message)s")
    # A verb returns its exit code, or what is left to say.
    every: list[Callable[..., int | str]] = [track, train, evaluate, ablate, convert]
    every += [footage.adapt, footage.serve]
    verbs = {verb.__name__: verb for verb in every}
    try:
        if words[0] == "show":
            from liir.show import command

            print(command.show(words[1:]))
            return 0
        if words[0] not in verbs:
            hint = nearest(words[0], [*verbs, "show", "--help", "--version"])
            raise InputError(
                f"unknown verb {words[0]!r}{hint} (there are: {', '.join(verbs)}, show)"
            )
        config = (tyro.conf.FlagCreatePairsOff,)  # --soft, without a --no-soft
        done = tyro.cli(verbs[words[0]], prog=f"liir {words[0]}", args=words[1:], config=config)
        if isinstance(done, str):
            print(done)
            return 0
        return done
    except ToldElsewhere:
        return 2
    except (InputError, OSError) as error:
        print(f"liir: error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"liir: interrupted; {one_line(error)}".rstrip("; "), file=sys.stderr)
        return 130
    except Exception as error:
        if not out_of_memory(error):
            raise
        print(f"liir: error: {one_line(error)}", file=sys.stderr)
        return 1


# --- Track


def track(
    video: Annotated[Positional[Path], arg(metavar="VIDEO")],
    /,
    *,
    annotation: Files,
    out: Place,
    model: Name = "small",
    device: Name = "auto",
    dtype: Dtype = "auto",
    threads: Count = None,
    size: Count = None,
    setting: Tracking = (),
    start: Frame = 0,
    stop: Last = None,
    soft: bool = False,
    resize_annotation: bool = False,
    resume: bool = False,
    force: bool = False,
) -> int:
    """Label a whole video from one annotated frame, or from several.

    $ liir track dog.mp4 --annotation 0=dog.png --out labelled
    $ liir track dog.mp4 --annotation 12=dog.png --annotation joints.csv --out labelled
    $ liir track clips/ --annotation masks/ --out labelled

    The folder then holds masks/, labels.json (COCO), points.csv, overlay.mp4 ...
    - Of many videos each has its own: clips/dog.mp4 goes to labelled/dog.
    - Its annotations are masks/dog.png (of frame 0), masks/dog.csv, masks/dog.json, or
      a folder: masks/dog/00012.png (of frame 12).
    - Finished ones are left alone, others gone on with; one that fails stops no other.

    Args:
        video: A video, a folder of images in natural order, or a folder of videos.
        annotation: FRAME=FILE: a mask (PNG with a palette or grey ids; frames count from 0).
            FILE: points (CSV: frame,name,x,y,visible), COCO (JSON), or a folder of files.
            Grey 255 beside other ids is void: nothing is known of these pixels.
        out: Folder to write to.
        model: A bundled model, a safetensors file of liir train, or random:small (untrained).
        device: auto, cpu, cuda, cuda:1, mps, ...
        dtype: Number format; auto is bfloat16 where the device is fast in it.
        threads: Threads to compute with, as many as torch likes if not given; those that read
            and write video are not counted.
        size: Short side at which features are computed, in pixels; 0 for the video's own.
            Labels always have the video's size. The model's, 480, if not given.
        setting: Another tracking setting.
        start: First frame to label.
        stop: Frame to stop before.
        soft: Write a probability PNG for each frame and object too.
        resize_annotation: Bring masks of another size to the video's instead of refusing them.
        resume: Go on where an earlier run stopped.
        force: Start over where an earlier run has written.
    """
    if resume and force:
        raise InputError("--resume goes on and --force starts over: give one of the two")
    changes = parse_settings(with_flags(setting, size=size), "tracking")["tracking"]
    set_threads(threads)
    check_out(out)
    from liir.jobs import find_jobs

    jobs = find_jobs(video, annotation, out)
    many = jobs[0].video != video
    # Whatever is wrong with the only video is told before the model is loaded.
    ready = None if many else jobs[0].read(start, stop, resize_annotation)
    from liir.backbones import load
    from liir.labelling import Progress, label_video

    net = load(model, device=device, dtype=dtype)
    config = dataclasses.replace(net.preset.tracking, **changes)
    # Going on loses nothing; of many videos it is what one wants without asking.
    resume = resume or (many and not force)
    options: dict[str, Any] = {"start": start, "stop": stop, "soft": soft}
    options |= {"resume": resume, "force": force}

    def label(job: Job) -> Summary:
        source, given = ready or job.read(start, stop, resize_annotation)
        with bar("frame") as show:

            def progress(state: Progress) -> None:
                note = source.name if state.labelled else f"back to frame {state.index}"
                show(state.done, state.total, state.done - state.labelled, note)

            return label_video(
                net, source, given, job.out, config=config, progress=progress, **options
            )

    if many:
        return _label_all(jobs, label)
    _tell(label(jobs[0]))
    return 0


def _label_all(jobs: Sequence[Job], label: Callable[[Job], Summary]) -> int:
    """Labels the videos of a folder; one that fails, in whatever way, is told and left."""
    code, failed = 0, []
    for number, job in enumerate(jobs, 1):
        print(f"[{number}/{len(jobs)}] {job.video}", flush=True)
        try:
            _tell(label(job))
        except Exception as error:
            expected = isinstance(error, InputError | OSError)
            told = one_line(error) if expected else f"{job.video}: {one_line(error)}"
            print(f"liir: error: {told}", file=sys.stderr)
            _log.debug("%s", job.video, exc_info=True)
            failed.append(job.video.name)
            code = max(code, 2) if expected else 1
    print(f"{len(jobs) - len(failed)} of {len(jobs)} videos are labelled", end="")
    print(f"; failed: {', '.join(failed)}" if failed else "")
    return code


def _tell(summary: Summary) -> None:
    """Says what was done, and where it is."""
    if summary.labelled:
        seconds = f"{summary.seconds:.1f} s, {summary.rate:.2f} frames/s"
        print(f"labelled {summary.labelled} frames in {seconds}")
    else:
        print(f"finished before: {summary.frames} frames")
    if summary.skipped:
        count, first = len(summary.skipped), ", ".join(map(str, summary.skipped[:8]))
        more = ", ..." if count > 8 else ""
        print(f"skipped {count} frames that cannot be decoded: {first}{more}")
    for path in summary.paths:
        print(f"  {path}")


# --- Train


def train(
    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="FOLDER...")],
    /,
    *,
    out: Place,
    preset: Annotated[str | None, arg(metavar="NAME")] = None,
    steps: Count = None,
    minutes: Annotated[float | None, arg(metavar="M")] = None,
    width: Annotated[float | None, arg(metavar="FACTOR")] = None,
    mix: Annotated[tuple[float, ...], arg(metavar="SHARE...")] = (),
    seed: Count = None,
    setting: Learning = (),
    init: Annotated[str | None, arg(metavar="NAME")] = None,
    device: Name = "auto",
    workers: Count = None,
    tensorboard: bool = False,
    validate: Annotated[Path | None, arg(metavar="DAVIS_ROOT")] = None,
    validate_every: Annotated[float, arg(metavar="MINUTES")] = 30.0,
    resume: bool = False,
    auto_resume: bool = False,
) -> int | str:
    """Learn features from videos that nobody labelled.

    $ liir train footage/ --out run --minutes 60
    $ liir train footage/ --out run --resume

    The folder then holds weights.safetensors, for liir track --model, and the run's
    state, which is saved every few minutes and on Ctrl-C. log.jsonl tells how it goes;
    liir show curves draws it.
    With torchrun -m before liir, several GPUs or machines train: docs/distributed.md.

    Args:
        folders: Videos, folders of videos or frames (nested at will), tar shards, or lists of
            such (.txt). stills:FOLDER holds photographs, each seen twice. See docs/data.md.
        out: Folder of the run.
        preset: small, if not given, base, baseline, position, inter, compact, paper or mast.
        steps: Length of the run. Give this or --minutes.
        minutes: Time to train for; becomes a number of steps after 50 timed ones.
        width: Factor on the channels of the network.
        mix: A share for each FOLDER: --mix 3 1 draws three samples from the first for one from
            the second. If not given, all their videos are equally likely.
        seed: Fixes initial weights and the order of samples.
        setting: Another setting.
        init: Weights to begin with: a bundled model, or a safetensors file of any preset.
        device: auto, cpu, cuda, cuda:1, mps, ...
        workers: Processes that decode video; 0 decodes in this one.
        tensorboard: Show numbers and pictures to tensorboard --logdir DIR (extra log).
        validate: A small folder in the layout of DAVIS on which the features are scored now and
            then; the time it takes is none of the run's, nor does it change the weights.
        validate_every: Minutes of training between two scores; the last one comes at the end.
        resume: Go on from the run's checkpoint, with the run's own settings.
        auto_resume: Go on if there is a checkpoint, begin if there is none: for jobs that are
            started again with the same command.
    """
    texts = with_flags(setting, width=width, seed=seed, mix=",".join(map(str, mix)) or None)
    if resume and (own := [*([f"--preset {preset}"] if preset else []), *texts]):
        raise InputError(f"--resume goes on with the run's own settings: leave {own[0]!r} out")
    if workers is not None and workers < 0:
        raise InputError(f"--workers {workers}: give 0 or more")
    if not folders:
        raise InputError("nothing to train on: name videos, or folders of videos or frames")
    config = presets.preset(preset or "small")
    for part, changes in parse_settings(texts, "training", "model", "tracking").items():
        changed = dataclasses.replace(getattr(config, part), **changes)
        config = dataclasses.replace(config, **{part: changed})
    if is_first():  # which alone writes
        check_out(out)
    from liir.learning import checkpoint, monitor, trainer

    watched = monitor.Monitoring(tensorboard=tensorboard, validate=validate, every=validate_every)
    states: list[trainer.Progress] = []
    with bar("step") as show:

        def progress(state: trainer.Progress) -> None:
            states[1:] = [state]  # the first and the last
            show(state.step, state.steps, states[0].step - 1, f"loss {state.loss:.3f}")

        options: dict[str, Any] = {"device": device, "workers": workers}
        options["resume"] = resume or ("auto" if auto_resume else False)
        options["init"] = init
        options |= {"steps": steps, "minutes": minutes, "progress": progress}
        weights = trainer.train(folders, config, out, monitoring=watched, **options)
    if not is_first():
        return 0
    # A run without a step was interrupted before it, or there was nothing left to do.
    last = states[-1] if states else checkpoint.restore(out)
    if last.steps is None or last.step < last.steps:
        told = f"{last.step} steps are kept in {out}; --resume goes on"
        if size() == 1:
            raise KeyboardInterrupt(told)
        return f"interrupted; {told}"  # what ends with 130, torchrun starts again
    return f"weights  {weights}"


# --- Convert


def convert(
    checkpoint: Annotated[Positional[Path], arg(metavar="FILE.pth")],
    /,
    *,
    out: Annotated[Path, arg(metavar="FILE.safetensors")],
) -> int:
    """Make weights of a checkpoint of the public MAST or LIIR code; no code in it is run.

    Args:
        checkpoint: What their training wrote.
        out: The file to write.
    """
    check_file(out)
    from liir import conversion

    print(f"weights  {out} ({conversion.convert(checkpoint, out)})")
    return 0
