"""What is measured: how each system makes an image of a tree, and how it mounts one."""

import os
import shutil
import subprocess
import time
from pathlib import Path

MANIFEST = 'name = "org.example.bench"\nversion = "1.0.0"\narch = "x86-64"\n' \
    'kernel_api = "1.0"\nentry = "/AppRun"\n'


class System:
    """A system in the comparison. `fuse`: served by a process, whose time and memory are told."""

    def __init__(self, name, about, needs, build, mount, fuse):
        self.name, self.about, self.needs = name, about, needs
        self.build, self.mount, self.fuse = build, mount, fuse

    def is_there(self):
        return all(shutil.which(tool) for tool in self.needs) and \
            all(known(word) for word in self.about.get("kernel", ()))


def known(filesystem):
    subprocess.run(["modprobe", "-q", filesystem], stderr=subprocess.DEVNULL, check=False) \
        if shutil.which("modprobe") else None
    return any(line.split()[-1] == filesystem for line in open("/proc/filesystems"))


class Mounted:
    """A mount, and the process that serves it if there is one."""

    def __init__(self, folder, server=None):
        self.folder, self.server = folder, server

    def usage(self):
        """CPU seconds and the peak of the memory of the server, in KiB."""
        if not self.server:
            return None
        fields = open(f"/proc/{self.server.pid}/stat").read().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        status = dict(line.split(":", 1) for line in open(f"/proc/{self.server.pid}/status"))
        peak = int(status["VmHWM"].split()[0])
        anonymous = int(status["RssAnon"].split()[0])
        return {"cpu_seconds": ticks / os.sysconf("SC_CLK_TCK"), "peak_kib": peak,
                "anonymous_kib": anonymous}

    def unmount(self):
        subprocess.run(["umount", self.folder], check=True)
        if self.server:
            self.server.wait()


def kernel(filesystem):
    def mount(image, folder):
        subprocess.run(["mount", "-t", filesystem, "-o", "loop,ro", image, folder], check=True)
        return Mounted(folder)
    return mount


def served(command):
    """Mounts by a server in the foreground, and waits until the folder is another file system."""
    def mount(image, folder):
        before = os.stat(folder).st_dev
        server = subprocess.Popen(command(image, folder), stdout=subprocess.DEVNULL)
        while os.stat(folder).st_dev == before:
            if server.poll() is not None:
                raise SystemExit(f"{server.args}: ended with {server.returncode}")
            time.sleep(0.0001)
        return Mounted(folder, server)
    return mount


def bound(image, folder):
    subprocess.run(["mount", "--bind", image, folder], check=True)
    return Mounted(folder)


def squashfs(tree, image, options):
    # Extended attributes and ids are not in question.
    subprocess.run(["mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-comp",
                    "gzip", "-b", "64K", *options], check=True, stdout=subprocess.DEVNULL)


def erofs(tree, image, options):
    subprocess.run(["mkfs.erofs", "--quiet", "-zdeflate,9", "-C65536", *options, image, tree],
                   check=True, stdout=subprocess.DEVNULL)


def copy(tree, image, _):
    shutil.copytree(tree, image, symlinks=True)


def in_memory(tree, image, _):
    image.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", image], check=True)
    shutil.copytree(tree, image, symlinks=True, dirs_exist_ok=True)


def epk(pkgtool, options=()):
    def build(tree, image, extra):
        manifest = image.with_suffix(".toml")
        manifest.write_text(MANIFEST)
        subprocess.run([pkgtool, "pack", tree, "-o", image, "--manifest", manifest, "--format", "2",
                        *options, *extra], check=True, stderr=subprocess.DEVNULL)
    return build


def all_systems(target, floor):
    """Every system, ours first. `floor`: the program that serves a folder from memory."""
    pkgtool, epkfs = target / "pkgtool", target / "epkfs"
    ours = served(lambda image, folder: [epkfs, "-f", image, folder])
    return [
        System("epk", {}, [str(pkgtool), str(epkfs)], epk(pkgtool), ours, True),
        System("squashfs", {"kernel": ["squashfs"]}, ["mksquashfs"], squashfs,
               kernel("squashfs"), False),
        System("erofs", {"kernel": ["erofs"]}, ["mkfs.erofs"], erofs, kernel("erofs"), False),
        System("squashfuse_ll", {"image": "squashfs"}, ["mksquashfs", "squashfuse_ll"], squashfs,
               served(lambda image, folder: ["squashfuse_ll", "-f", image, folder]), True),
        System("erofsfuse", {"image": "erofs"}, ["mkfs.erofs", "erofsfuse"], erofs,
               served(lambda image, folder: ["erofsfuse", "-f", image, folder]), True),
        System("dwarfs", {}, ["mkdwarfs", "dwarfs"],
               lambda tree, image, options: subprocess.run(
                   ["mkdwarfs", "-i", tree, "-o", image, "--force", *options], check=True,
                   stderr=subprocess.DEVNULL),
               served(lambda image, folder: ["dwarfs", image, folder, "-f"]), True),
        System("floor", {"bound": True, "image": "ext4", "loads": True}, [str(floor)], copy,
               served(lambda image, folder: [floor, image, folder]), True),
        System("ext4", {"bound": True}, [], copy, bound, False),
        System("tmpfs", {"bound": True}, [], in_memory, bound, False),
    ]


def image_of(system, corpus, root):
    """Where the image of a corpus lies. Two servers may share a format."""
    folder = root / "images" / corpus
    folder.mkdir(parents=True, exist_ok=True)
    return folder / system.about.get("image", system.name)


def build(system, tree, corpus, root):
    """Makes an image if there is none; what that took, or None."""
    image = image_of(system, corpus, root)
    if image.exists() and (system.name != "tmpfs" or os.path.ismount(image)):
        return None
    if system.name == "tmpfs":
        shutil.rmtree(image, ignore_errors=True)
    before, start = os.times(), time.monotonic()
    system.build(tree, image, [])
    after = os.times()
    cpu = (after.children_user - before.children_user) \
        + (after.children_system - before.children_system)
    result = {"wall_seconds": time.monotonic() - start, "cpu_seconds": cpu}
    if not system.about.get("bound"):
        result["bytes"] = Path(image).stat().st_size
    return result
