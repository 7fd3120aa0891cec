"""A virtual machine with a USB bus: Debian's kernel, its usbserial and ftdi_sio drivers, udev, busybox and sipeat.

What a test plugs into the bus (`plug`) is an FTDI adapter to the guest; its other end is a pseudo-terminal of the host,
which a simulated board speaks on. Unplugging it is what pulling the cable is: the guest's kernel loses the device.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

from support import harness
from support.harness import wait_for

CACHE = pathlib.Path(os.environ.get("SIPEAT_CACHE", pathlib.Path.home() / ".cache/sipeat")) / "vm"
MODULES = ("usb/common/usb-common", "usb/core/usbcore", "usb/host/xhci-hcd", "usb/host/xhci-pci",
           "usb/serial/usbserial", "usb/serial/ftdi_sio")  # in the order in which they need each other
RULES = ("50-udev-default", "60-serial")
PROGRAMS = ("/lib/systemd/systemd-udevd", "/usr/bin/udevadm")
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run /tmp; mount -t devpts pts /dev/pts
echo 3 > /proc/sys/kernel/printk
for module in /modules/*.ko; do insmod "$module"; done
/lib/systemd/systemd-udevd --daemon
udevadm trigger; udevadm settle
exec < /dev/ttyS1 > /dev/ttyS1
stty raw -echo
sum() { md5sum | cut -c 1-32; }
say() { cat /tmp/.out; echo "@@$number $code $(sum < /tmp/.out)@@"; }
number=0 last=0 code=0; : > /tmp/.out; say
while read -r number sent line; do
  [ -n "$number" ] || continue
  if [ "$(printf "%s %s" "$number" "$line" | sum)" != "$sent" ]; then echo "@@again@@"; continue; fi
  if [ "$number" != "$last" ]; then last=$number; eval "$line" > /tmp/.out 2>&1 < /dev/null; code=$?; fi
  say
done
"""


ANSWER = re.compile(rb"@@(?:(\d+) (\d+) (\w+)|again)@@\r?\n")
RESEND = 2  # seconds without an answer


def digest(data):
    return hashlib.md5(data).hexdigest()


def line_of(number, command):
    return f"{number} {digest(f'{number} {command}'.encode())} {command}\n".encode()


def release():
    """The package of Debian's kernel, and its release ("6.1.0-40-amd64")."""
    for refresh in (False, True):
        if refresh:
            subprocess.run(["apt-get", "-q", "update"], check=True, stdout=subprocess.DEVNULL)
        shown = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True,
                               check=False)
        package = re.search(r"Depends: (linux-image-(\S+))", shown.stdout)
        if package:
            return package[1], package[2]
    raise RuntimeError("apt knows no linux-image-amd64")


def kernel():
    """A folder with the kernel (vmlinuz) and the modules of a release, fetched from Debian once."""
    package, version = release()
    folder = CACHE / version
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "vmlinuz").exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as there:
                fetch(package, version, pathlib.Path(there))
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(pathlib.Path(there) / "kept", folder)
    return folder


def fetch(package, version, there):
    subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=there, check=True,
                   stdout=subprocess.DEVNULL)
    drivers = f"./lib/modules/{version}/kernel/drivers"
    wanted = [f"./boot/vmlinuz-{version}", *(f"{drivers}/{name}.ko" for name in MODULES)]
    image = next(there.glob("*.deb"))
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", image], stdout=subprocess.PIPE) as tar:
        subprocess.run(["tar", "xf", "-", *wanted], stdin=tar.stdout, cwd=there, check=True)
    kept = there / "kept"
    kept.mkdir()
    for number, name in enumerate(MODULES):
        shutil.copy(there / f"{drivers}/{name}.ko", kept / f"{number}-{pathlib.Path(name).name}.ko")
    shutil.copy(there / f"boot/vmlinuz-{version}", kept / "vmlinuz")


def libraries(program):
    """The shared libraries of a program, by the places where its loader looks for them."""
    shown = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(/\S+) \(0x", shown))


def root(folder, kept, files):
    """The guest's file system as an initramfs: `files` are {place in the guest: place here}."""
    tree = folder / "root"
    programs = [*PROGRAMS, *(str(at) for at in files.values() if os.access(at, os.X_OK))]
    copied = {name: name for name in PROGRAMS} | {f"/lib/udev/rules.d/{name}.rules": f"/lib/udev/rules.d/{name}.rules"
                                                  for name in RULES}
    copied |= {"/bin/busybox": "/bin/busybox"} | {place: str(at) for place, at in files.items()}
    for program in programs:
        copied |= {name: name for name in libraries(program)}
    for place, at in copied.items():
        target = tree / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(at), target)
    shutil.copytree(kept, tree / "modules", ignore=shutil.ignore_patterns("vmlinuz"))
    for name in ("proc", "sys", "dev", "etc", "root"):
        (tree / name).mkdir(exist_ok=True)
    (tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\ntty:x:5:\ndialout:x:20:\n")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    image = folder / "root.cpio"
    names = subprocess.run(["find", "."], cwd=tree, capture_output=True, check=True).stdout
    with open(image, "wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=tree, input=names, stdout=out, check=True)
    shutil.rmtree(tree)
    return image


class Qmp:
    """The monitor of the virtual machine: one command, one answer."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        wait_for(lambda: self.try_connect(path), f"qemu's monitor at {path}")
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def try_connect(self, path):
        with contextlib.suppress(OSError):
            self.socket.connect(str(path))
            return True

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise RuntimeError(f"qemu: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


class Machine:
    """A booted machine with an empty USB bus. `run` is a shell in it."""

    def __init__(self, folder, files):
        self.folder = pathlib.Path(folder)
        kept = kernel()
        image = root(self.folder, kept, {"/bin/sipeat": harness.BINARY, **files})
        self.console = self.folder / "console.log"
        sockets = [self.folder / name for name in ("shell.sock", "qmp.sock")]
        self.qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-smp", "1", "-nodefaults",
             "-no-reboot", "-display", "none", "-kernel", kept / "vmlinuz", "-initrd", image,
             "-append", "console=ttyS0 panic=-1 quiet", "-serial", f"file:{self.console}",
             "-serial", f"unix:{sockets[0]},server=on,wait=off", "-qmp", f"unix:{sockets[1]},server=on,wait=off",
             "-device", "qemu-xhci,id=usb"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.qmp = Qmp(sockets[1])
        self.shell = socket.socket(socket.AF_UNIX)
        self.shell.connect(str(sockets[0]))
        self.left, self.number = b"", 0
        self.answer("boot", line_of(0, ""), 120)

    def run(self, command, deadline=60):
        """(exit code, output) of a shell's line in the guest. The line between us loses bytes when the guest is slow:
        what is sent has a number and a sum, the guest runs each number once, and so does its answer."""
        self.number += 1
        return self.answer(command, line_of(self.number, " ".join(command.split("\n")).strip()), deadline)

    def answer(self, command, line, deadline):
        end = time.monotonic() + deadline * harness.PATIENCE
        self.shell.sendall(line)
        while time.monotonic() < end:
            came = self.next_answer(min(end, time.monotonic() + RESEND))
            if came and came[0] == self.number:
                return came[1:]
            if not came:  # lost, or still under way: then the guest passes it over
                self.shell.sendall(b"\n" + line)
        raise AssertionError(f"the guest does not answer {command!r}: {self.left[-2000:]!r}\n"
                             f"{self.console.read_text(errors='replace')[-2000:]}")

    def next_answer(self, end):
        """(number, exit code, output) of a whole answer; None for a broken one, or none in time."""
        while (found := ANSWER.search(self.left)) is None:
            self.shell.settimeout(max(end - time.monotonic(), 0.01))
            try:
                self.left += self.shell.recv(65536)
            except TimeoutError:
                return None
        said, self.left = self.left[:found.start()], self.left[found.end():]
        if found[1] is None or digest(said) != found[3].decode():
            return None
        return int(found[1]), int(found[2]), said.decode("utf-8", "replace").replace("\r", "")

    def plug(self, name, pty, port, serial=None):
        """Plugs in an adapter named so, whose other end is the pseudo-terminal, on a port (1 to 4) of the bus."""
        self.qmp("chardev-add", id=f"{name}-line", backend={"type": "serial", "data": {"device": str(pty)}})
        device = {"driver": "usb-serial", "id": name, "chardev": f"{name}-line", "bus": "usb.0", "port": str(port)}
        self.qmp("device_add", **device, **({"serial": serial} if serial else {}))

    def unplug(self, name):
        """Pulls it out: returns when the bus has let it go."""
        self.qmp("device_del", id=name)

        def gone():
            try:
                self.qmp("chardev-remove", id=f"{name}-line")
            except RuntimeError:
                return False  # still in use
            return True
        wait_for(gone, f"{name} unplugged")

    def close(self):
        self.qemu.kill()
        self.qemu.wait(10)
        self.shell.close()
        self.qmp.file.close()
        self.qmp.socket.close()
