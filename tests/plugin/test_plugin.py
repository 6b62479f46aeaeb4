"""The branch in Ultralytics' parser, registration, and which file a name means."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest
import yaml
from ultralytics.nn import tasks

from afpn_yolo.layers import LAYERS
from afpn_yolo.plugin import register
from afpn_yolo.plugin.fallback import RegistrationError
from afpn_yolo.plugin.lookup import resolve, shipped

Rows = list[list[Any]]


def model_yaml(rows: Rows, base: int = 32) -> dict[str, Any]:
    """Four rows of a backbone (0-3: strides 2, 4, 8, 16), then rows under test."""
    backbone = [[-1, 1, "Conv", [base * 2**i, 3, 2]] for i in range(4)]
    return {
        "nc": 1,
        "scales": {"n": [0.33, 0.25, 1024]},
        "scale": "n",
        "backbone": backbone,
        "head": rows,
    }


def parse(rows: Rows) -> Any:
    layers, _ = tasks.parse_model(model_yaml(rows), ch=3, verbose=False)
    return layers


@pytest.mark.parametrize("name", ["AFPNFusion", "AFPNSum", "AFPNConcat"])
@pytest.mark.parametrize("sources", [[2, 3], [1, 2, 3], [0, 1, 2, 3], [-2, -1]])
def test_fusion_rows_take_channels_from_their_sources(name: str, sources: list[int]) -> None:
    for target in range(len(sources)):
        layers = parse(
            [[sources, 1, name, [target]], [-1, 1, "AFPNResidual", [2]], [-1, 1, "Conv", [64]]]
        )
        widths = [8, 16, 32, 64]
        assert layers[4].channels == tuple(widths[s] for s in sources)
        assert len(layers[5]) == 2
        assert layers[6].conv.in_channels == widths[sources[target]]


def test_residual_rows_may_also_repeat_by_depth() -> None:
    layers = parse([[-1, 6, "AFPNResidual", [1]]])
    assert [type(m).__name__ for m in layers[4]] == ["AFPNResidual"] * 2  # 6 x depth 0.33


@pytest.mark.parametrize(
    ("scale", "share", "expected"),
    [
        ([1, 0.25, 1024], 0.25, 64),
        ([1, 0.25, 1024], 0.375, 96),
        ([1, 1, 512], 0.25, 128),  # a quarter of the level's own width, 512
        ([1, 0.25, 1024], 0.03, 8),
        ([1, 0.25, 1024], 1, 256),
    ],
)
def test_a_share_is_of_what_the_scale_leaves(
    scale: list[float], share: float, expected: int
) -> None:
    d = {**model_yaml([[-1, 1, "AFPNConv", [1024, share]]]), "scales": {"n": scale}}
    layers, _ = tasks.parse_model(d, ch=3, verbose=False)
    assert layers[4].conv.out_channels == expected


REFUSED: list[list[Any]] = [
    *([-1, 1, "AFPNConv", [64, share]] for share in (0, -0.25, 1.5, 4, float("nan"))),
    [-1, 1, "AFPNConv", [64, True]],
    [-1, 1, "AFPNConv", [0.25, 64]],
    [-1, 1, "AFPNConv", [64, "plain"]],
    [[2, 3], 1, "AFPNFusion", [0.5]],
    [[], 1, "AFPNSum", [0]],
    [3, 1, "AFPNFusion", [0]],
    [[2, 3], 1, "AFPNConcat", [-1]],
    [[2, 3], 1, "AFPNFusion", [[]]],
    [[2, 3], 1, "AFPNSum", [0, 1]],
    [[2, 3], 1, "AFPNFusion", [0, 0]],
    [[2, 3], 1, "AFPNFusion", [0, "wide"]],
    [[2, 3], 1, "AFPNFusion", ["plain", 0]],
    [[2, 3], 1, "AFPNFusion", [0, "plain", 8]],
    [[2, 3], 3, "AFPNFusion", [0]],
    [[2, 3], 0, "AFPNFusion", [0]],
    [[2, "x"], 1, "AFPNFusion", [0]],
    [[2, 4], 1, "AFPNFusion", [0]],
    [[2, 3], 1, "AFPNResidual", [3]],
    [-1, 1, "AFPNResidual", [0]],
    [-1, 0, "AFPNResidual", [3]],
    [-1, 1, "AFPNResidual", [1, 2]],
]
"""Further ones, with their sentences, are in bad_input.yaml."""


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_refused_rows_are_named(row: list[Any]) -> None:
    with pytest.raises(ValueError, match=rf"model YAML, row 4 \[.*{row[2]}"):
        parse([row])


def test_a_wrapper_around_a_layer_is_no_other_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profilers and the like wrap functions of other packages."""
    for layer in LAYERS.values():
        init = layer.__init__
        monkeypatch.setattr(layer, "__init__", lambda *a, _init=init, **k: _init(*a, **k))
    tasks.DetectionModel("yolov5n-afpn-lite.yaml", verbose=False)


def test_registering_twice_does_nothing() -> None:
    parser = tasks.parse_model
    register.register_layers(tasks)
    assert tasks.parse_model is parser
    assert inspect.getsource(parser).count("AFPN_LAYERS") == 1


def fake_tasks() -> ModuleType:
    """A module with the parser and a base class as Ultralytics ships them."""
    source = inspect.getsource(tasks.parse_model).replace(register.OUR_BRANCH, "")
    module = ModuleType("fake")
    vars(module).update({k: v for k, v in vars(tasks).items() if k not in register.NAMES})
    exec(compile(source, register._remember(source), "exec"), vars(module))
    own = {name: getattr(tasks.BaseModel, name).__wrapped__ for name in ("fuse", "load")}
    module.BaseModel = type("BaseModel", (tasks.BaseModel,), own)  # type: ignore[attr-defined]
    return module


def test_registering_with_a_fresh_module() -> None:
    real = tasks.BaseModel.fuse, tasks.BaseModel.load
    module = fake_tasks()
    with pytest.raises(KeyError):
        module.parse_model(model_yaml([[[2, 3], 1, "AFPNFusion", [0]]]), 3, False)
    register.register_layers(module)
    module.parse_model(model_yaml([[[2, 3], 1, "AFPNFusion", [0]]]), 3, False)
    used = tasks.BaseModel.fuse, tasks.BaseModel.load
    assert used == real, "other tests go on with the module that is in use"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c2 = ch[f]\n", "c2 = ch[f] + 0\n"),
        ("max_channels", "most_channels"),
        ("globals()[m]", "KNOWN[m]"),
    ],
)
def test_a_changed_parser_is_an_error(old: str, new: str) -> None:
    module = fake_tasks()
    source = inspect.getsource(module.parse_model).replace(old, new)
    exec(compile(source, register._remember(source), "exec"), vars(module))
    with pytest.raises(RegistrationError, match="parser"):
        register.register_layers(module)
    assert not set(LAYERS) & set(vars(module))


def test_a_parser_that_another_package_has_wrapped_is_an_error_that_names_it() -> None:
    module = fake_tasks()
    code = "from functools import wraps\nwrap = lambda f: wraps(f)(lambda *a, **k: f(*a, **k))"
    other = {"__name__": "other_plugin"}
    exec(code, other)
    module.parse_model = other["wrap"](module.parse_model)  # type: ignore[attr-defined, operator]
    with pytest.raises(RegistrationError, match="other_plugin has replaced"):
        register.register_layers(module)
    assert not set(LAYERS) & set(vars(module))


SHIPPED = "yolov5-afpn.yaml"


@pytest.mark.parametrize(
    ("present", "asked", "expected"),
    [
        ([], "yolov5s-afpn.yaml", "ours"),
        ([], "models/yolov5s-afpn.yaml", "ours"),
        ([], SHIPPED, "ours"),
        ([], "other/yolov5s-afpn.yaml", None),
        ([], "models/deep/yolov5s-afpn.yaml", None),
        ([], "{root}/yolov5s-afpn.yaml", None),
        ([], "{root}/models/yolov5s-afpn.yaml", None),
        ([], "yolov5s-unknown.yaml", None),
        ([SHIPPED], "yolov5s-afpn.yaml", SHIPPED),
        (["yolov5s-afpn.yaml", SHIPPED], "yolov5s-afpn.yaml", "yolov5s-afpn.yaml"),
        (["models/" + SHIPPED], "models/yolov5s-afpn.yaml", "models/" + SHIPPED),
        (["models/" + SHIPPED], "yolov5s-afpn.yaml", "ours"),
        (["own3n/" + SHIPPED], "own3n/yolov5s-afpn.yaml", "own3n/" + SHIPPED),
        (["own3n/" + SHIPPED], "{root}/own3n/yolov5s-afpn.yaml", "own3n/" + SHIPPED),
        (["yolov5s-afpn.yaml"], "yolov5n-afpn.yaml", "ours"),
        (["yolov5s-afpn.yaml"], SHIPPED, "ours"),
    ],
)
def test_whose_file_a_name_means(
    present: list[str],
    asked: str,
    expected: str | None,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in present:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = resolve("models", asked.format(root=tmp_path))
    ours = shipped("models", SHIPPED)
    assert (found and found.resolve()) == (
        ours if expected == "ours" else expected and tmp_path / expected
    )


@pytest.mark.parametrize(
    ("present", "nc"),
    [
        ({"yolov5s-afpn.yaml": 22, "yolov5-afpn.yaml": 11}, 22),
        ({"yolov5-afpn.yaml": 11}, 11),
        ({"yolov5s-afpn.yaml": 22}, 22),
        ({"yolov5n-afpn.yaml": 33}, 80),
        ({}, 80),
    ],
)
def test_the_name_that_was_asked_for_decides(
    present: dict[str, int], nc: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases differ in whether they look for this name first, or for the one without scale."""
    monkeypatch.chdir(tmp_path)
    for name, classes in present.items():
        d = {**model_yaml([[[2, 3], 1, "AFPNFusion", [0]]]), "nc": classes}
        (tmp_path / name).write_text(yaml.safe_dump(d))
    content = tasks.yaml_model_load("yolov5s-afpn.yaml")
    assert (content["nc"], content["scale"]) == (nc, "s")
    assert content["yaml_file"] == "yolov5s-afpn.yaml"


def test_a_folder_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics goes on there, and so do we."""

    def denied(path: object, *args: object, **kwargs: object) -> None:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr("os.stat", denied)
        assert resolve("models", "yolov5n.yaml") is None


def test_data_names(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.data import utils

    monkeypatch.chdir(tmp_path)
    assert utils.check_file("shapes.yaml") == str(shipped("data", "shapes.yaml"))
    assert utils.check_file("data/shapes.yaml") == str(shipped("data", "shapes.yaml"))
    assert utils.check_file("shapes", hard=False) == []
