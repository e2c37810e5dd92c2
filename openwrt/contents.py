"""What the packages are made of, in whatever format: the feed's own Makefiles say it, so that who
builds with OpenWrt's SDK and who builds without get the same.
"""
import os, re, sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
# What OpenWrt's install commands give.
MODES = {"BIN": 0o755, "CONF": 0o600, "DATA": 0o644}
# As LuCI's own build rules have it: rpcd reads its access lists when it starts and when it is told.
LUCI_POSTINST = """\
[ -n "${IPKG_INSTROOT}" ] || {
	rm -rf /tmp/luci-indexcache* /tmp/luci-modulecache
	killall -HUP rpcd 2>/dev/null
}
exit 0
"""


@dataclass
class Package:
    name: str
    version: str
    release: str
    architecture: str  # one of openwrt/architectures, or "all"
    description: str
    section: str
    maintainer: str
    license: str
    depends: list
    provides: list
    conflicts: list
    files: dict  # path below the root: (bytes, mode)
    conffiles: list = field(default_factory=list)  # absolute
    postinst: str = ""  # bodies, without the line that names the shell
    prerm: str = ""
    user: str = ""  # USER=NUMBER:GROUP=NUMBER, made when it is installed


def fail(*words):
    sys.exit("package: " + " ".join(map(str, words)))


def epoch():
    """The time that everything gets."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    return int(text) if re.fullmatch(r"\d{1,10}", text) else fail(f"SOURCE_DATE_EPOCH is no time: {text}")


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        fail(f"{path}: {error.strerror}; a program is built by cross/build.sh")


def write(path, data):
    """Whole or not at all."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".new", "wb") as out:
        out.write(data)
    os.replace(path + ".new", path)
    print(path)


def folders(files):
    """Every folder above one of the paths, sorted; the root is the empty one."""
    return sorted({path[:match.start()] for path in files for match in re.finditer("/", path)} | {""})


class Makefile:
    def __init__(self, package):
        self.path = f"{HERE}/{package}/Makefile"
        self.text = read(self.path).decode()

    def value(self, key, default=None):
        found = re.search(rf"^ *{key}:=(.*)$", self.text, re.M)
        if not found and default is None:
            fail(f"{self.path} sets no {key}")
        return found[1] if found else default

    def depends(self, key):
        """The packages of DEPENDS; conditions on the machine are for OpenWrt's build."""
        return sorted(word[1:] for word in self.value(key).split() if word.startswith("+"))

    def section(self, name):
        """The lines of `define Package/…/NAME`, as the shell gets them."""
        found = re.search(rf"^define Package/[\w-]+/{name}\n(.*?)^endef", self.text, re.M | re.S)
        return found[1].replace("$$", "$") if found else fail(f"{self.path} has no section {name}")

    def script(self, name):
        return self.section(name).removeprefix("#!/bin/sh\n")


def postern(binary, architecture):
    """The daemon, for a machine; `binary` is the path of the program."""
    feed = Makefile("postern")
    files = {}
    for line in feed.section("install").replace("\\\n", "").splitlines():
        kind, *names = line.split()
        if kind == "$(INSTALL_DIR)":
            continue
        found = re.fullmatch(r"\$\(INSTALL_(BIN|CONF|DATA)\)", kind)
        if not found or len(names) != 2 or not names[1].startswith("$(1)/"):
            fail(f"{feed.path}: only $(INSTALL_BIN|CONF|DATA) FILE $(1)/PLACE is understood, not: {line.strip()}")
        source, place = names[0], names[1].removeprefix("$(1)/")
        if place.endswith("/"):
            place += os.path.basename(source)
        path = binary if source == "$(PKG_INSTALL_DIR)/bin/postern" else f"{HERE}/postern/{source}"
        files[place] = (read(path), MODES[found[1]])
    return Package(
        "postern", feed.value("PKG_VERSION"), feed.value("PKG_RELEASE"), architecture,
        # No C library: the program is static.
        feed.value("TITLE"), feed.value("SECTION"), feed.value("PKG_MAINTAINER"), feed.value("PKG_LICENSE"),
        feed.depends("DEPENDS"), feed.value("PROVIDES").split(), feed.value("CONFLICTS").split(), files,
        feed.section("conffiles").split(), feed.script("postinst"), feed.script("prerm"),
        feed.value("USERID"))


def luci():
    """The LuCI pages, for every machine, with the daemon's version."""
    feed, daemon = Makefile("luci-app-postern"), Makefile("postern")
    files = {}
    for top, place in (("htdocs", "www/"), ("root", "")):
        base = f"{HERE}/luci-app-postern/{top}"
        for where, _, names in os.walk(base):
            for name in names:
                path = os.path.join(where, name)
                mode = 0o755 if os.stat(path).st_mode & 0o111 else 0o644
                files[place + os.path.relpath(path, base)] = (read(path), mode)
    taken = feed.value("PKG_PROVIDES", "").split()
    return Package(
        "luci-app-postern", daemon.value("PKG_VERSION"), daemon.value("PKG_RELEASE"), "all",
        feed.value("LUCI_TITLE"), "luci", feed.value("PKG_MAINTAINER"), feed.value("PKG_LICENSE"),
        feed.depends("LUCI_DEPENDS"), taken, taken, files, postinst=LUCI_POSTINST)


def from_arguments(program, arguments):
    """The package and the folder that a command line names."""
    match arguments:
        case ["postern", binary, architecture, folder]:
            return postern(binary, architecture), folder
        case ["luci", folder]:
            return luci(), folder
    sys.exit(f"usage: openwrt/{program} postern BINARY ARCHITECTURE FOLDER | luci FOLDER")
