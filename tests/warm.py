"""Child processes that have torch already: one interpreter imports it, and each child is its fork.

The import of torch is most of what a short `yolo` command costs. Such a child has imported neither
Ultralytics nor what of ours comes behind the start-up hook, so it finds what a fresh interpreter
finds. What happens at an interpreter's start can't be seen in it: a start-up file, `-S`, `-W`,
`PYTHONPATH=` with a `sitecustomize`, `AFPN_YOLO_DISABLE=1`. Linux only; imports nothing heavy.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

AVAILABLE = sys.platform == "linux"
PRELOADED = ["torch", "torchvision", "numpy", "cv2", "PIL.Image", "matplotlib.pyplot"]


@cache
def _forks() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@cache
def _path_of_an_interpreter() -> list[str]:
    """What `sys.path` is in a fresh one, without its first place and without `PYTHONPATH`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = "import sys; print(*sys.path[1:], sep='\\n')"
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, text=True, env=environment).splitlines()


def call(
    code: str, arguments: list[str], cwd: Path, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run code as `python -c CODE ARGUMENTS` would, in a fork.

    Raises:
        TimeoutError: The process was still alive after `timeout` seconds, and was killed.
    """
    path = ["", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    path += _path_of_an_interpreter()
    with TemporaryDirectory(prefix="told-") as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _forks().Process(
            target=_child, args=(code, arguments, str(cwd), env, path, [*map(str, outputs)])
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{timeout} s: {code[:200]} {arguments}")
        told = [file.read_text(errors="replace") if file.exists() else "" for file in outputs]
    return subprocess.CompletedProcess([code, *arguments], process.exitcode or 0, *told)


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
