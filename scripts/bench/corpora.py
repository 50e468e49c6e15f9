"""The trees that are measured. Each is made once and kept."""

import os
import random
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PACKAGES = ["numpy", "pandas", "scipy"]
BIG = 512 << 20

# What `import pandas` and the like may want of an application's C library, by name.
APP_RUN = """#!/bin/sh
here=${0%/*}
export PYTHONHOME=$here PYTHONDONTWRITEBYTECODE=1
exec "$here/lib/LOADER" --library-path "$here/lib" "$here/bin/python3" "$@"
"""


def make(name, root):
    """Makes a corpus below `root` if it isn't there; its folder."""
    folder = root / "corpora" / name
    if not folder.exists():
        print(f"making {name}", file=sys.stderr)
        unfinished = folder.with_name(name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        MAKERS[name](unfinished)
        unfinished.rename(folder)
    return folder


def files(folder):
    """The paths of all regular files, in the order of their bytes."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                found.append(os.fsencode(os.path.relpath(path, folder)))
    return sorted(found)


def python(folder):
    """A Python installation with numpy, pandas and scipy."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = folder / "lib" / version
    ignored = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__", "config-*")
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=ignored, symlinks=False)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target"]
    subprocess.run([*pip, library / "site-packages", *PACKAGES], check=True)
    compile_all(library)


def compile_all(folder):
    # Hashed and never looked at again: file systems keep times differently.
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, folder], check=False, stdout=subprocess.DEVNULL)


def many(folder):
    """50,000 small texts in 500 folders."""
    source = random.Random(1)
    words = [bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz", k=source.randint(2, 9)))
             for _ in range(5000)]
    for number in range(500):
        parent = folder / f"part-{number:03}"
        parent.mkdir()
        for file in range(100):
            size = source.randint(100, 8192)
            text = b" ".join(source.choices(words, k=size // 4))[:size]
            (parent / f"text-{file:02}.txt").write_bytes(text)


def big(folder):
    """One file of 512 MiB: programs, libraries and texts of this machine."""
    left = BIG
    with open(folder / "big", "wb") as output:
        for turn in range(64):
            # Nothing may come twice at the same place in a chunk: equal blocks are stored once.
            output.write(b"x" * (turn * 7919 % 65521))
            for root in ["/usr/lib", "/usr/share", "/usr/bin", sys.base_prefix]:
                for path in files(root):
                    path = os.path.join(os.fsencode(root), path)
                    try:
                        data = open(path, "rb").read(min(left, 64 << 20))
                    except OSError:
                        continue
                    output.write(data)
                    left -= len(data)
                    if left <= 0:
                        output.truncate(BIG)
                        return


def app(folder):
    """A Python that runs from where it lies: loader, C library, interpreter, library."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ignored = shutil.ignore_patterns(
        "site-packages", "dist-packages", "__pycache__", "config-*", "test", "tests", "idlelib",
        "tkinter", "turtledemo", "ensurepip", "lib2to3")
    shutil.copytree(sysconfig.get_path("stdlib"), folder / "lib" / version, ignore=ignored)
    compile_all(folder / "lib" / version)
    (folder / "bin").mkdir()
    interpreter = os.path.realpath(sys.executable)
    shutil.copy2(interpreter, folder / "bin" / "python3")
    libraries = set()
    modules = [str(path) for path in (folder / "lib").rglob("*.so")]
    for program in [interpreter, *modules]:
        for line in subprocess.run(["ldd", program], capture_output=True, text=True).stdout.splitlines():
            libraries.update(word for word in line.split() if word.startswith("/"))
    loader = None
    for library in libraries:
        name = os.path.basename(library)
        shutil.copy2(os.path.realpath(library), folder / "lib" / name)
        if name.startswith("ld-linux"):
            loader = name
    run = folder / "AppRun"
    run.write_text(APP_RUN.replace("LOADER", loader))
    run.chmod(0o755)


def counted(count):
    """As many small files, a thousand to a folder."""
    def make_them(folder):
        for number in range(count):
            parent = folder / f"{number // 1000:04}"
            if number % 1000 == 0:
                parent.mkdir()
            (parent / f"{number % 1000:03}").write_bytes(b"%d\n" % number)
    return make_them


MAKERS = {
    "python": python, "many": many, "big": big, "app": app,
    "10-files": counted(10), "100000-files": counted(100_000), "1000000-files": counted(1_000_000),
}
