"""The tests, and the rounds in which they are run."""

import json
import os
import subprocess
import sys
import time

import systems


class Test:
    """One thing that is measured in a fresh mount: cold, and then, if `warm`, once more.

    `work` gets the bench and the mounted folder, and gives milliseconds, or what `unit` says.
    """

    def __init__(self, name, unit, work, warm=True, higher=False):
        self.name, self.unit, self.work = name, unit, work
        self.warm, self.higher = warm, higher


class Bench:
    def __init__(self, root, corpus, listing, workload):
        self.root, self.corpus, self.listing, self.workload = root, corpus, listing, workload
        self.folder = root / "mount"
        self.folder.mkdir(exist_ok=True)
        self.first = open(listing, "rb").readline().rstrip(b"\n")

    def run(self, there, tests, rounds):
        """Samples by test and system: {"cold": […], "warm": […], "server": […]}."""
        samples = {test.name: {system.name: {"cold": [], "warm": [], "server": []}
                               for system in there} for test in tests}
        for number in range(rounds):
            for test in tests:
                for system in there:
                    # Its start is the reading of the whole tree.
                    if test.work is mount and system.about.get("loads"):
                        continue
                    if sys.stderr.isatty():
                        print(f"\r\033[K{self.corpus}, round {number + 1}: {test.name}, "
                              f"{system.name}", end="", file=sys.stderr)
                    self.sample(test, system, samples[test.name][system.name])
        return {test.name: {"unit": test.unit, "higher": test.higher,
                            "systems": samples[test.name]} for test in tests}

    def sample(self, test, system, into):
        image = systems.image_of(system, self.corpus, self.root)
        if test.work is mount:
            for which in "cold", "warm":
                if which == "cold":
                    self.cool()
                start = time.perf_counter()
                mounted = system.mount(image, self.folder)
                os.stat(os.path.join(os.fsencode(self.folder), self.first))
                into[which].append((time.perf_counter() - start) * 1000)
                if mounted.usage():
                    into["server"].append(mounted.usage())
                mounted.unmount()
            return
        self.cool()
        mounted = system.mount(image, self.folder)
        try:
            into["cold"].append(test.work(self, self.folder))
            if mounted.usage():
                into["server"].append(mounted.usage())
            if test.warm:
                into["warm"].append(test.work(self, self.folder))
        finally:
            mounted.unmount()

    def cool(self):
        """Drops the kernel's caches, but for the programs that measure."""
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as control:
            control.write("3")
        subprocess.run([self.workload], stderr=subprocess.DEVNULL, check=False)
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)

    def load(self, *words):
        done = subprocess.run([self.workload, *words], check=True, capture_output=True)
        return json.loads(done.stdout)


def mount(_bench, _folder):
    """Until the first stat of a file is answered; see `Bench.sample`."""


def walk(bench, folder):
    return bench.load("walk", folder)["nanoseconds"] / 1e6


def tree(readers):
    def work(bench, folder):
        done = bench.load("tree", folder, bench.listing, str(readers))
        return done["bytes"] / done["nanoseconds"] * 1000
    return work


def sequential(bench, folder):
    done = bench.load("sequential", folder / "big")
    return done["bytes"] / done["nanoseconds"] * 1000


def places(how, jobs, count):
    def work(bench, folder):
        done = bench.load(how, folder / "big", str(jobs), str(count))
        return done["count"] / done["nanoseconds"] * 1e9
    return work


def launched(command, environment):
    start = time.perf_counter()
    subprocess.run(command, check=True, env={"PATH": "/usr/bin:/bin", **environment})
    return (time.perf_counter() - start) * 1000


def launch_app(_bench, folder):
    return launched([folder / "AppRun", "-c", "pass"], {})


def launch_pandas(_bench, folder):
    environment = {"PYTHONHOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return launched([os.path.realpath(sys.executable), "-c", "import pandas"], environment)


MOUNT = Test("mount to first stat", "ms", mount)
WALK = Test("walk", "ms", walk)
TREE_1 = Test("tree, 1 reader", "MB/s", tree(1), higher=True)
TREE_4 = Test("tree, 4 readers", "MB/s", tree(4), higher=True)

TESTS = {
    "python": [MOUNT, WALK, TREE_1, TREE_4, Test("launch import pandas", "ms", launch_pandas)],
    "many": [WALK, TREE_1, TREE_4],
    "big": [
        Test("sequential", "MB/s", sequential, higher=True),
        Test("random 4K, 1 job", "IOPS", places("random", 1, 4096), warm=False, higher=True),
        Test("random 4K, 4 jobs", "IOPS", places("random", 4, 2048), warm=False, higher=True),
        Test("mapped 4K, 1 job", "IOPS", places("mapped", 1, 4096), warm=False, higher=True),
        Test("mapped 4K, 4 jobs", "IOPS", places("mapped", 4, 2048), warm=False, higher=True),
    ],
    "app": [MOUNT, Test("launch", "ms", launch_app)],
    "10-files": [MOUNT],
    "100000-files": [MOUNT],
    "1000000-files": [MOUNT],
}
