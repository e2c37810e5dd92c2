#!/usr/bin/env python3
"""Installs, upgrades and removes the package in a root folder of its own, as opkg and apk do on a router:
its scripts run there, under BusyBox, against stand-ins for what OpenWrt gives them. As root.
"""
import gzip, hashlib, io, os, re, shutil, stat, subprocess, sys, tarfile, tempfile

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
sys.dont_write_bytecode = True
sys.path.insert(0, "openwrt")
import apk, contents

INFO = "usr/lib/opkg/info"
CONFIG = "etc/config/upnpd"

# What the generated scripts call: an upgrade leaves the service enabled. Of apk's the package's own part
# comes behind this, of opkg's within.
FUNCTIONS = """\
add_group_and_user() { :; }
default_postinst() {
	code=0
	for script in $(grep -hs ^/etc/uci-defaults/ /usr/lib/opkg/info/postern.list /lib/apk/packages/postern.list); do
		(cd /etc/uci-defaults && . "$script") && rm -f "$script"
	done
	[ ! -f /usr/lib/opkg/info/postern.postinst-pkg ] || (. /usr/lib/opkg/info/postern.postinst-pkg) || code=$?
	[ "$PKG_UPGRADE" = 1 ] || /etc/init.d/postern enable
	/etc/init.d/postern start
	return $code
}
default_prerm() {
	(. /usr/lib/opkg/info/postern.prerm-pkg) || return
	[ "$PKG_UPGRADE" = 1 ] || /etc/init.d/postern disable
	/etc/init.d/postern stop
}
"""
RC_COMMON = 'echo "${1##*/} $2" >>/calls\n'


class Router:
    def __init__(self, root):
        self.root = root
        for folder in ("bin", "lib", "tmp", "etc/config", "etc/init.d", INFO):
            os.makedirs(f"{root}/{folder}", exist_ok=True)
        busybox = shutil.which("busybox")
        needed = re.findall(r"(/\S+)", subprocess.run(["ldd", busybox], capture_output=True, text=True).stdout)
        for library in {path for path in needed if os.path.isfile(path)}:
            os.makedirs(root + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, root + library)
        shutil.copy(busybox, f"{root}/bin/busybox")
        self.run("/bin/busybox", "--install", "-s", "/bin")
        self.write("lib/functions.sh", FUNCTIONS)
        self.write("etc/rc.common", RC_COMMON)
        os.remove(f"{root}/bin/killall")
        for name, does in ("uci", "exit 1"), ("killall", 'echo "killall $*" >>/calls'):
            self.write(f"bin/{name}", f"#!/bin/sh\n{does}\n")
            os.chmod(f"{root}/bin/{name}", 0o755)
        os.makedirs(f"{root}/dev")
        os.mknod(f"{root}/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))

    def run(self, *command, **more):
        environment = {"PATH": "/bin:/usr/sbin", **more}
        done = subprocess.run(["chroot", self.root, *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, (command, done)
        return done.stdout

    def write(self, path, text):
        with open(f"{self.root}/{path}", "w") as file:
            file.write(text)

    def read(self, path):
        with open(f"{self.root}/{path}") as file:
            return file.read()

    def has(self, path):
        return os.path.lexists(f"{self.root}/{path}")

    def calls(self):
        """What the init scripts were asked since the last time."""
        said = self.read("calls").splitlines() if self.has("calls") else []
        self.write("calls", "")
        return said

    def put(self, package, upgrade=False):
        more = {"PKG_UPGRADE": "1"} if upgrade else {}
        if upgrade:
            self.run("/bin/sh", f"/{INFO}/postern.prerm", "upgrade", **more)
        with open(package, "rb") as file:
            members = unpacked(file.read())
        control, data = unpacked(members["control.tar.gz"][1]), unpacked(members["data.tar.gz"][1])
        for path in control["conffiles"][1].decode().split():
            place, (mode, new) = path[1:], data[path[1:]]
            if self.has(place) and digest(self.read(place).encode()) != self.sums.get(place):
                # The owner's own stays; the new one lies beside it.
                data[f"{place}-opkg"] = data.pop(place)
            self.sums[place] = digest(new)
        for name, (mode, content) in data.items():
            os.makedirs(os.path.dirname(f"{self.root}/{name}"), exist_ok=True)
            with open(f"{self.root}/{name}", "wb") as out:
                out.write(content)
            os.chmod(f"{self.root}/{name}", mode)
        self.files = set(data)
        self.write(f"{INFO}/postern.list", "".join(f"/{name}\n" for name in sorted(data)))
        for name, (_, content) in control.items():
            self.write(f"{INFO}/postern.{name}", content.decode())
        self.run("/bin/sh", f"/{INFO}/postern.postinst", "configure", **more)

    def put_apk(self, package, script):
        """The files, then one of the scripts."""
        for name, (data, mode) in apk.with_lists(package).items():
            os.makedirs(os.path.dirname(f"{self.root}/{name}"), exist_ok=True)
            with open(f"{self.root}/{name}", "wb") as out:
                out.write(data)
            os.chmod(f"{self.root}/{name}", mode)
        self.write("tmp/script", apk.scripts(package)[script])
        self.run("/bin/sh", "/tmp/script")

    def remove(self):
        self.run("/bin/sh", f"/{INFO}/postern.prerm", "remove")
        for name in self.files:
            changed = name in self.sums and digest(self.read(name).encode()) != self.sums[name]
            if self.has(name) and not changed:
                os.remove(f"{self.root}/{name}")

    sums = {}
    files = set()


def digest(content):
    return hashlib.sha256(content).hexdigest()


def unpacked(data):
    """The files of a compressed tar."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        return {info.name.removeprefix("./"): (info.mode, tar.extractfile(info).read()) for info in tar if info.isfile()}


with tempfile.TemporaryDirectory() as work:
    with open(f"{work}/binary", "w") as file:
        file.write("#!/bin/sh\necho postern 0.1.0\n")
    subprocess.run([sys.executable, "openwrt/ipk.py", "postern", f"{work}/binary", "mips_24kc", work],
                   check=True, stdout=subprocess.DEVNULL)
    package = f"{work}/postern_0.1.0-1_mips_24kc.ipk"
    alias = '#!/bin/sh\n# The service is postern.\nexec /etc/init.d/postern "$@"\n'

    # In the place of miniupnpd, whose configuration stays.
    router = Router(f"{work}/root")
    owners = "config upnpd 'config'\n\toption enabled '1'\n"
    router.write(CONFIG, owners)
    router.put(package)
    # ubusd knows the access list when the daemon joins it.
    assert router.calls() == ["killall -HUP ubusd", "postern enable", "postern start"]
    assert router.read(CONFIG) == owners and router.has(f"{CONFIG}-opkg")
    assert router.read("etc/init.d/miniupnpd") == alias
    assert not router.has("etc/uci-defaults/90-postern"), "it has run"
    assert router.run("/usr/sbin/postern", "--version") == "postern 0.1.0\n"
    assert router.run("/etc/init.d/miniupnpd", "restart") == "" and router.calls() == ["postern restart"]

    router.put(package, upgrade=True)
    # procd would only signal the old program: it is restarted.
    assert router.calls() == ["postern stop", "killall -HUP ubusd", "postern restart", "postern start"]
    assert router.read(CONFIG) == owners and router.has("etc/init.d/miniupnpd")

    router.remove()
    assert router.calls() == ["postern disable", "postern stop"]
    assert router.read(CONFIG) == owners, "the owner's configuration stays"
    left = [name for name in router.files if router.has(name)]
    assert left == [], left
    assert not router.has("etc/init.d/miniupnpd"), "the alias leads nowhere"

    # On a new system its own configuration is there, and goes again unless it was changed.
    router = Router(f"{work}/new")
    router.sums, router.files = {}, set()
    router.put(package)
    with open("openwrt/postern/files/upnpd.config") as file:
        assert router.read(CONFIG) == file.read()
    assert os.stat(f"{router.root}/{CONFIG}").st_mode & 0o777 == 0o600
    router.put(package, upgrade=True)
    assert not router.has(f"{CONFIG}-opkg")
    router.remove()
    assert not router.has(CONFIG)

    router = Router(f"{work}/apk")
    router.put_apk(contents.postern(f"{work}/binary", "mips_24kc"), "post-install")
    assert router.calls() == ["killall -HUP ubusd", "postern enable", "postern start"]
    router.put_apk(contents.postern(f"{work}/binary", "mips_24kc"), "post-upgrade")
    assert router.calls() == ["killall -HUP ubusd", "postern start", "postern restart"]
    assert router.read("etc/init.d/miniupnpd") == alias
print("openwrt: installing, upgrading and removing do as they should")
