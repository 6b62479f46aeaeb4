"""Run real commands in folders of their own, as a user would; or where our package isn't there.

On Linux, `yolo` and `forked` run in forks of one interpreter that has torch already: its import is
most of what a short command costs. Such a child has imported neither Ultralytics nor what of ours
comes behind the start-up hook, so it finds what a fresh interpreter finds, but nothing that happens
at an interpreter's start: start-up files, `-S`, `AFPN_YOLO_DISABLE=1`. Nothing heavy is imported.
"""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from types import ModuleType

YOLO = Path(shutil.which("yolo", path=Path(sys.executable).parent) or "yolo")
AFPN = (sys.executable, "-m", "afpn_yolo")
EDGE = (sys.executable, "-m", "afpn_yolo.edge")
ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "kept" / "tiny-afpn.yaml"
"""A model with every layer of ours, a third of the time of the smallest that we ship."""
WITHOUT = """
import importlib.metadata, importlib.util, sys
sys.path[:] = {path}
assert importlib.util.find_spec("afpn_yolo") is None
assert not [*importlib.metadata.distributions(name="afpn_yolo")]
"""
COMMAND = "import sys; from ultralytics.cfg import entrypoint; sys.argv[0] = 'yolo'; entrypoint()"
COMMANDS = """
import sys
from ultralytics.cfg import entrypoint
for words in {words!r}:
    sys.argv[:] = ["yolo", *words]
    entrypoint()
"""
"""Several `yolo` commands, one after the other in one interpreter."""
AT_START = {"AFPN_YOLO_DISABLE", "TEST_NETWORK_NOTES"}
"""Variables that act when an interpreter starts, so that a fork comes too late for them."""
WITH_TESTS = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
"""An environment in which a child can import `tests`, and all that we can."""
TIMEOUT = 1200.0
PRELOADED = ["torch", "torchvision", "numpy", "cv2", "PIL.Image", "matplotlib.pyplot"]


def run(
    *command: str | Path,
    cwd: Path,
    fails: bool = False,
    env: dict[str, str] | None = None,
    cold: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command; its exit code must be zero, or non-zero where it must fail.

    Args:
        cold: Start an interpreter even for `yolo`.
    """
    program, *words = map(str, command)
    if program == str(YOLO) and not cold and not AT_START & {*(env or {})}:
        return forked(COMMAND, *words, cwd=cwd, fails=fails, env=env)
    return _ended(
        subprocess.run(
            [program, *words],
            cwd=cwd,
            env=_environment(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        ),
        fails,
    )


def forked(
    code: str, *arguments: str, cwd: Path, fails: bool = False, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has torch already, and nothing of Ultralytics or of us."""
    if sys.platform != "linux":
        return run(sys.executable, "-c", code, *arguments, cwd=cwd, fails=fails, env=env)
    environment = _environment(env)
    path = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    path += _path_of_an_interpreter()
    with TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        how = (code, [*arguments], str(cwd), environment, path, [*map(str, outputs)])
        process = _forks().Process(target=_child, args=how)
        process.start()
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{TIMEOUT} s: {code[:200]} {arguments}")
        texts = [file.read_text(errors="replace") if file.exists() else "" for file in outputs]
    exitcode = process.exitcode or 0
    return _ended(subprocess.CompletedProcess([code, *arguments], exitcode, *texts), fails)


@cache
def _forks() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@cache
def _path_of_an_interpreter() -> list[str]:
    """What `sys.path` is in a fresh one, without its first place and without `PYTHONPATH`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", "import sys; print(*sys.path[1:], sep='\\n')"]
    return subprocess.check_output(command, text=True, env=environment).splitlines()


def _child(
    code: str, arguments: list[str], cwd: str, env: dict[str, str], path: list[str], to: list[str]
) -> None:
    for number, name in enumerate(to, 1):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:] = path
    sys.argv[:] = ["-c", *arguments]
    for name in [n for n in sys.modules if n == "tests" or n.startswith("tests.")]:
        del sys.modules[name]  # only an interpreter that is told of them finds them
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    status: int | str | None = 0
    try:
        exec(compile(code, "<string>", "exec"), vars(main))
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    if isinstance(status, str):
        print(status, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status if isinstance(status, int) else 1 if status else 0)


def _environment(env: dict[str, str] | None) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}


def _ended(
    result: subprocess.CompletedProcess[str], fails: bool
) -> subprocess.CompletedProcess[str]:
    assert (result.returncode != 0) == fails, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def python(code: str, cwd: Path, fails: bool = False, env: dict[str, str] | None = None) -> str:
    """Run code in a fresh interpreter; returns all that it printed."""
    result = run(sys.executable, "-c", code, cwd=cwd, fails=fails, env=env)
    return result.stdout + result.stderr


def afpn(*words: str | Path, cwd: Path, fails: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command `afpn` in this process, as `run` would in another."""
    from afpn_yolo.cli.__main__ import main

    output, errors, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            code = main([*map(str, words)])
    except SystemExit as end:  # argparse
        code = int(end.code or 0)
    finally:
        os.chdir(before)
    result = subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())
    return _ended(result, fails)


@cache
def path_without_us() -> list[str]:
    """`sys.path`, with links to all but this package where a folder holds it or its metadata."""
    path: list[str] = []
    without = Path(mkdtemp(prefix="without-afpn-"))
    atexit.register(shutil.rmtree, without, ignore_errors=True)
    for folder in map(Path, filter(os.path.isdir, sys.path)):
        if (folder / "afpn_yolo").exists() and (folder / "setup.cfg").exists():
            continue  # a checkout
        if any("afpn_yolo" in entry.name for entry in folder.iterdir()):
            links = without / str(len(path))
            links.mkdir()
            for entry in folder.iterdir():
                if "afpn_yolo" not in entry.name:
                    (links / entry.name).symlink_to(entry)
            folder = links
        path.append(str(folder))
    return path


def without_us(code: str) -> tuple[str, ...]:
    """The command for code in an interpreter in which this package isn't installed.

    That is more than `AFPN_YOLO_DISABLE=1`, under which `afpn_yolo` is still imported. `-S` keeps
    start-up files out, `-I` the environment's and the current folder.
    """
    return (sys.executable, "-S", "-I", "-c", WITHOUT.format(path=path_without_us()) + code)
