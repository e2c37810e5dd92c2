#!/usr/bin/env python3
"""The .apk from the outside, by a reader of its own: every field of the table, every file, nothing
that is not accounted for; the same bytes under another folder, umask, time zone and language.
"""
import hashlib, os, struct, subprocess, sys, tempfile, zlib

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
EPOCH = 1700000000
PROGRAM = b"program" * 100000  # more than 64 KiB
# The schema of a package as apk has it: names of fields by their number, and what they are.
DEPENDENCY = {1: ("name", str), 2: ("version", str), 3: ("match", int)}
ACL = {1: ("mode", oct), 2: ("user", str), 3: ("group", str), 4: ("xattrs", [bytes])}
FILE = {1: ("name", str), 2: ("acl", ACL), 3: ("size", int), 4: ("mtime", int), 5: ("hash", bytes), 6: ("target", bytes)}
FOLDER = {1: ("name", str), 2: ("acl", ACL), 3: ("files", [FILE])}
INFO = {1: ("name", str), 2: ("version", str), 3: ("hashes", bytes), 4: ("description", str), 5: ("arch", str),
        6: ("license", str), 7: ("origin", str), 8: ("maintainer", str), 9: ("url", str), 12: ("installed-size", int),
        15: ("depends", [DEPENDENCY]), 16: ("provides", [DEPENDENCY])}
SCRIPTS = {3: ("post-install", str), 4: ("pre-deinstall", str), 7: ("post-upgrade", str)}
PACKAGE = {1: ("info", INFO), 2: ("paths", [FOLDER]), 3: ("scripts", SCRIPTS)}
ROOT = {"user": "root", "group": "root"}


def value(table, word, schema):
    """What a word of the table stands for."""
    kind, low = word >> 28, word & 0xFFFFFFF
    if isinstance(schema, (dict, list)):
        assert kind == 0xE and low % 4 == 0, hex(word)
        count, = struct.unpack_from("<I", table, low)
        words = struct.unpack_from(f"<{count}I", table, low)[1:]
        assert words and words[-1], "an object ends in a field that is there"
        if isinstance(schema, list):
            return [value(table, word, schema[0]) for word in words]
        return {schema[i][0]: value(table, word, schema[i][1]) for i, word in enumerate(words, 1) if word}
    if schema in (int, oct):
        assert kind in (1, 2), hex(word)
        number = low if kind == 1 else struct.unpack_from("<I", table, low)[0]
        assert kind == 1 or (low % 4 == 0 and number >> 28), "small numbers stand in the word itself"
        return schema(number)
    form = {8: "<B", 9: "<H", 10: "<I"}[kind]
    width = struct.calcsize(form)
    length, = struct.unpack_from(form, table, low)
    assert low % width == 0 and 0 < length == len(table[low + width:low + width + length])
    data = table[low + width:low + width + length]
    return data.decode() if schema is str else data


def blocks(data):
    while data:
        word, = struct.unpack_from("<I", data)
        kind, size = word >> 30, word & 0x3FFFFFFF
        padded = size + -size % 8
        assert 4 <= size and padded <= len(data) and not any(data[size:padded]), "padding to 8 bytes, of zeros"
        yield kind, data[4:size]
        data = data[padded:]


def package(path):
    """The table and the files' bytes."""
    with open(path, "rb") as file:
        packed = file.read()
    assert packed[:4] == b"ADBd"
    inflate = zlib.decompressobj(-15)
    plain = inflate.decompress(packed[4:]) + inflate.flush()
    assert inflate.eof and not inflate.unused_data
    assert plain[:8] == b"ADB.pckg"
    (kind, table), *rest = blocks(plain[8:])
    assert kind == 0 and table[:4] == bytes(4), "the table comes first, in the version that all read"
    parsed = value(table, struct.unpack_from("<I", table, 4)[0], PACKAGE)
    unique = parsed["info"].pop("hashes")
    assert len(unique) == 20 and table.count(unique) == 1
    assert hashlib.sha256(table.replace(unique, bytes(20))).digest()[:20] == unique
    # One block for each file, in the table's order.
    files, order = {}, []
    for i, folder in enumerate(parsed["paths"], 1):
        for j, entry in enumerate(folder.get("files", []), 1):
            order.append((i, j, "/".join(filter(None, [folder.get("name"), entry["name"]])), entry))
    assert len(order) == len(rest)
    for (i, j, name, entry), (kind, data) in zip(order, rest):
        assert (kind, *struct.unpack_from("<II", data)) == (2, i, j), name
        data = data[8:]
        assert (entry["size"], entry["hash"]) == (len(data), hashlib.sha256(data).digest()), name
        assert (entry["mtime"], set(entry)) == (EPOCH, {"name", "acl", "size", "mtime", "hash"}), name
        mode = entry["acl"].pop("mode")
        assert entry["acl"] == ROOT, name
        files[name] = (mode, data)
    names = [folder.get("name", "") for folder in parsed["paths"]]
    assert names == sorted({name.rpartition("/")[0] for name in files} |
                           {name[:at] for name in files for at, byte in enumerate(name) if byte == "/"} | {""})
    for folder in parsed["paths"]:
        assert folder["acl"] == {"mode": "0o755", **ROOT}, folder
        found = [entry["name"] for entry in folder.get("files", [])]
        assert found == sorted(found), "apk looks for names by halving"
    return parsed["info"], files, parsed["scripts"]


def build(folder, *arguments, umask=0o022, where=".", **more):
    environment = {"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONDONTWRITEBYTECODE": "1", **more}
    for format in "ipk", "apk":
        subprocess.run([sys.executable, os.path.abspath(f"openwrt/{format}.py"), *arguments, folder], check=True,
                       env=environment, cwd=where, umask=umask, stdout=subprocess.DEVNULL)


def refused(*arguments, **environment):
    ran = subprocess.run([sys.executable, "openwrt/apk.py", *arguments], capture_output=True, text=True,
                         env={"PYTHONDONTWRITEBYTECODE": "1", **environment})
    assert (ran.returncode != 0, ran.stdout) == (True, ""), ran
    return ran.stderr


INSTALL = """\
[ "${IPKG_NO_SCRIPT}" != 1 ] || exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
export root="${IPKG_INSTROOT}" pkgname="NAME"
default_postinst
"""
REMOVE = INSTALL.replace("postinst", "prerm").partition("\n")[2]
USER = "add_group_and_user\n"
POSTINST = """\
[ -n "${IPKG_INSTROOT}" ] || [ "${PKG_UPGRADE}" != 1 ] || /etc/init.d/postern restart
exit 0
"""
PRERM = """\
[ -n "${IPKG_INSTROOT}" ] || [ "${PKG_UPGRADE}" = 1 ] || {
	/usr/share/postern/firewall.sh remove
	! grep -qs postern /etc/init.d/miniupnpd || rm -f /etc/init.d/miniupnpd
}
exit 0
"""
LUCI_POSTINST = """\
[ -n "${IPKG_INSTROOT}" ] || {
	rm -rf /tmp/luci-indexcache* /tmp/luci-modulecache
	killall -HUP rpcd 2>/dev/null
}
exit 0
"""


def scripts(name, postinst, prerm="", user=""):
    install = INSTALL.replace("NAME", name).replace("default", user + "default") + postinst
    return {"post-install": "#!/bin/sh\n" + install,
            "pre-deinstall": "#!/bin/sh\n" + REMOVE.replace("NAME", name) + prerm,
            "post-upgrade": "#!/bin/sh\nexport PKG_UPGRADE=1\n" + install}


with tempfile.TemporaryDirectory() as work:
    binary = f"{work}/binary"
    with open(binary, "wb") as file:
        file.write(PROGRAM)
    build(f"{work}/a", "postern", binary, "mips_24kc")
    build(f"{work}/a", "luci")
    build(f"{work}/b", "luci", umask=0o077, where="/", TZ="Pacific/Apia", LC_ALL="tr_TR.UTF-8")
    build(f"{work}/b", "postern", binary, "mips_24kc", umask=0o077, where="/", TZ="Pacific/Apia", PYTHONHASHSEED="7")
    assert sorted(os.listdir(f"{work}/a")) == sorted(os.listdir(f"{work}/b")) == [
        "luci-app-postern-0.1.0-r1_noarch.apk", "luci-app-postern_0.1.0-1_all.ipk",
        "postern-0.1.0-r1_mips_24kc.apk", "postern_0.1.0-1_mips_24kc.ipk"]
    for name in os.listdir(f"{work}/a"):
        with open(f"{work}/a/{name}", "rb") as one, open(f"{work}/b/{name}", "rb") as other:
            assert one.read() == other.read(), f"{name} differs"

    info, files, found = package(f"{work}/a/postern-0.1.0-r1_mips_24kc.apk")
    assert info == {
        "name": "postern", "version": "0.1.0-r1", "description": "UPnP IGD, NAT-PMP and PCP daemon",
        "arch": "mips_24kc", "license": "MIT OR Apache-2.0", "origin": "openwrt/postern",
        "maintainer": "The Postern authors", "installed-size": sum(len(data) for _, data in files.values()),
        "depends": [{"name": n} for n in ("firewall4", "kmod-inet-diag", "kmod-nf-conntrack-netlink", "kmod-nft-nat")],
        "provides": [{"name": "miniupnpd", "version": "0.1.0-r1"}]}
    lists = {name: files.pop(name)[1].decode() for name in list(files) if name.startswith("lib/apk/packages/")}
    assert {name: mode for name, (mode, _) in files.items()} == {
        "etc/capabilities/postern.json": "0o644", "etc/config/upnpd": "0o600",
        "etc/hotplug.d/dhcp/50-postern": "0o644", "etc/init.d/postern": "0o755",
        "etc/uci-defaults/90-postern": "0o755", "usr/sbin/postern": "0o755", "usr/share/acl.d/postern.json": "0o644",
        "usr/share/postern/firewall.sh": "0o755",
        "usr/share/postern/forward-label.nft": "0o644", "usr/share/postern/forward-mark.nft": "0o644"}
    assert files["usr/sbin/postern"][1] == PROGRAM
    config = files["etc/config/upnpd"][1]
    with open("openwrt/postern/files/upnpd.config", "rb") as file:
        assert config == file.read()
    assert lists == {
        "lib/apk/packages/postern.list": "".join(f"/{name}\n" for name in sorted(files)),
        "lib/apk/packages/postern.rusers": "postern=5351:postern=5351\n",
        "lib/apk/packages/postern.conffiles": "/etc/config/upnpd\n",
        "lib/apk/packages/postern.conffiles_static": f"/etc/config/upnpd {hashlib.sha256(config).hexdigest()}\n"}
    assert found == scripts("postern", POSTINST, PRERM, USER)
    for text in found.values():
        ran = subprocess.run(["busybox", "ash", "-n", "-c", text], capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, ""), ran

    info, files, found = package(f"{work}/a/luci-app-postern-0.1.0-r1_noarch.apk")
    assert (info["arch"], info["depends"], info["provides"]) == (
        "noarch", [{"name": "luci-base"}, {"name": "postern"}, {"name": "rpcd-mod-luci"}],
        [{"name": "luci-app-upnp", "version": "0.1.0-r1"}])
    lists = files.pop("lib/apk/packages/luci-app-postern.list")[1].decode()
    assert lists == "".join(f"/{name}\n" for name in sorted(files))
    tree = {}
    for top, place in (("htdocs", "www"), ("root", "")):
        base = f"openwrt/luci-app-postern/{top}"
        for where, _, names in os.walk(base):
            for name in names:
                with open(f"{where}/{name}", "rb") as file:
                    tree[os.path.relpath(f"/{place}/{os.path.relpath(where, base)}/{name}", "/")] = ("0o644", file.read())
    assert tree and files == tree
    assert found == scripts("luci-app-postern", LUCI_POSTINST)

    assert refused("postern", f"{work}/none", "mips_24kc", work) == \
        f"package: {work}/none: No such file or directory; a program is built by cross/build.sh\n"
    assert refused("postern") == "usage: openwrt/apk.py postern BINARY ARCHITECTURE FOLDER | luci FOLDER\n"
    assert refused("luci", work, SOURCE_DATE_EPOCH="today") == "package: SOURCE_DATE_EPOCH is no time: today\n"
print("openwrt: the .apk is as it should be")
