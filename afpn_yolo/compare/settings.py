"""Which of Ultralytics' arguments a comparison takes by `--set`, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OWN = frozenset(
    (
        *("data", "epochs", "imgsz", "batch", "seed", "model", "pretrained", "patience"),
        *("device", "workers", "project", "name", "exist_ok", "resume", "save_dir"),
        *("time", "val", "mode", "task", "cfg"),  # with these it would be another comparison
    )
)
"""The same for all runs, or different by their nature."""

FAIR = frozenset(
    (
        # How it is optimised; the same for every neck.
        *("optimizer", "lr0", "lrf", "momentum", "weight_decay", "nbs", "cos_lr", "amp"),
        *("warmup_epochs", "warmup_momentum", "warmup_bias_lr", "box", "cls", "cls_pw", "dfl"),
        # What the images are made into.
        *("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective"),
        *("flipud", "fliplr", "bgr", "mosaic", "mixup", "cutmix", "close_mosaic", "multi_scale"),
        *("rect", "copy_paste", "copy_paste_mode", "augmentations"),
        # What it costs, and what else is written.
        *("cache", "deterministic", "verbose", "plots", "save_period", "channels_last"),
        "cls_remap",  # of a .pt that is fine-tuned
        *("save", "split", "freeze", "fraction"),  # not all of their values: check_settings
    )
)
"""They reach every neck alike, and the evaluation holds all the same."""

JUDGED = "the evaluation is COCO's, at settings of its own"
TIME = "it changes the time that a training takes, which afpn benchmark measures"
NO_USE = "it has no effect on the training of a detector"
REFUSED: Mapping[str, str] = {
    "classes": "the evaluation would count the others, too; write a data YAML of these classes",
    "single_cls": "the evaluation would tell the classes apart; write a data YAML of one class",
    "compile": f"{TIME}, and leaves out the last batch of an epoch",
    "profile": TIME,
    "distill_model": "the necks would learn from a teacher; a trained start is LABEL=FILE.pt",
    "quantize": "quantization-aware training is no part of a comparison; see afpn quantize",
    **dict.fromkeys(("conf", "iou", "max_det", "agnostic_nms", "nms", "augment", "dnn"), JUDGED),
    **dict.fromkeys(("save_json", "save_txt", "save_conf", "save_crop", "visualize"), JUDGED),
    **dict.fromkeys(
        (
            *("dis", "pose", "kobj", "rle", "angle", "dlog", "dgrad", "dlam", "auto_augment"),
            *("overlap_mask", "mask_ratio", "dropout", "erasing"),  # other tasks
            *("source", "vid_stride", "stream_buffer", "retina_masks", "embed", "show"),
            *("save_frames", "show_labels", "show_conf", "show_boxes", "line_width"),
            *("format", "optimize", "dynamic", "simplify", "opset", "workspace", "tracker"),
            *("half", "int8", "end2end", "keras"),  # earlier releases
        ),
        NO_USE,
    ),
}
"""What is refused, and the reason that the user is told."""


def check_settings(extra: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an argument under which runs could not be compared."""
    if taken := sorted(extra.keys() & OWN):
        raise ValueError(f"{', '.join(taken)}: set by the comparison itself, not by --set")
    for key, value in extra.items():
        if reason := _against(key, value):
            raise ValueError(f"--set {key}={value}: {reason}")


def _against(key: str, value: Any) -> str | None:
    if key in REFUSED:
        return REFUSED[key] if value not in (None, False) else None
    if key not in FAIR:
        return "this afpn_yolo doesn't know whether it is fair to every neck"
    if key == "save" and not value:
        return "a run that is interrupted could not go on"
    if key == "split" and value not in ("val", "test"):
        return "a model is judged on val or test, not on what it learnt from"
    if key == "fraction" and isinstance(value, list):
        return "the evaluation takes all of its images; one number is the share of training images"
    rows = [value] if isinstance(value, int) else value
    if key == "freeze" and not (
        rows is None or (isinstance(rows, list) and all(type(row) is int for row in rows))
    ):
        return "a row by name is another one in each neck; give how many rows of the backbone"
    return None


def frozen_rows(extra: Mapping[str, Any]) -> list[int]:
    """The rows that `freeze` keeps as they are."""
    value = extra.get("freeze")
    if isinstance(value, int):
        return [*range(value)]
    return [*value] if value else []
