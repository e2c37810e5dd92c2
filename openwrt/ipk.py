#!/usr/bin/env python3
"""Writes an .ipk package as opkg reads it: a compressed tar of three members. The same input gives
the same bytes: owners are root, names sorted, the time is SOURCE_DATE_EPOCH.

    openwrt/ipk.py postern BINARY ARCHITECTURE FOLDER
    openwrt/ipk.py luci FOLDER
"""
import gzip, io, os, re, sys, tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
FILES = [  # where it is, where it goes, mode
    ("upnpd.config", "etc/config/upnpd", 0o600),
    ("postern.init", "etc/init.d/postern", 0o755),
    ("postern.defaults", "etc/uci-defaults/90-postern", 0o755),
    ("postern.json", "etc/capabilities/postern.json", 0o644),
    ("firewall.sh", "usr/share/postern/firewall.sh", 0o755),
    ("forward-label.nft", "usr/share/postern/forward-label.nft", 0o644),
    ("forward-mark.nft", "usr/share/postern/forward-mark.nft", 0o644),
]
HEAD = '#!/bin/sh\n[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0\n. "${IPKG_INSTROOT}/lib/functions.sh"\n'
POSTINST = HEAD.replace("#!/bin/sh\n", '#!/bin/sh\n[ "${IPKG_NO_SCRIPT}" != 1 ] || exit 0\n') + 'default_postinst "$0" "$@"\n'
PRERM = HEAD + 'default_prerm "$0" "$@"\n'


def read(path):
    with open(path, "rb") as file:
        return file.read()


def tar(entries):
    """A compressed tar of {name: (bytes, mode)} with the folders above each name."""
    names = {}
    for name, entry in entries.items():
        for end in [m.start() for m in re.finditer("/", name)]:
            names[name[:end]] = None
        names[name] = entry
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name in ["."] + sorted(names):
            info = tarfile.TarInfo("./" if name == "." else "./" + name)
            info.mtime, info.uname, info.gname = EPOCH, "root", "root"
            entry = names.get(name)
            if entry is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                out.addfile(info)
            else:
                info.size, info.mode = len(entry[0]), entry[1]
                out.addfile(info, io.BytesIO(entry[0]))
    return gzip.compress(plain.getvalue(), 9, mtime=0)


def scripts(name):
    """What the feed's Makefile defines as this script."""
    text = read(f"{HERE}/postern/Makefile").decode()
    body = re.search(rf"define Package/postern/{name}\n(.*?)endef", text, re.S).group(1)
    return body.replace("$$", "$").encode()


def package(folder, fields, data, control):
    size = sum(len(content) for content, _ in data.values())
    lines = [f"{key}: {value}" for key, value in fields if value]
    lines.insert(-1, f"Installed-Size: {size}")
    control = {"control": (("\n".join(lines) + "\n").encode(), 0o644), **control}
    values = dict(fields)
    path = f"{folder}/{values['Package']}_{values['Version']}_{values['Architecture']}.ipk"
    os.makedirs(folder, exist_ok=True)
    members = {"debian-binary": b"2.0\n", "data.tar.gz": tar(data), "control.tar.gz": tar(control)}
    with open(path + ".new", "wb") as out:
        out.write(tar({name: (content, 0o644) for name, content in members.items()}))
    os.replace(path + ".new", path)
    print(path)


def fields(name, depends, architecture, description, more=()):
    makefile = read(f"{HERE}/postern/Makefile").decode()
    value = lambda key: re.search(rf"^{key}:=(.*)$", makefile, re.M).group(1)
    return [
        ("Package", name), ("Version", f"{value('PKG_VERSION')}-{value('PKG_RELEASE')}"),
        ("Depends", depends), *more, ("Source", f"openwrt/{name}"), ("SourceName", name),
        ("License", value("PKG_LICENSE")), ("Section", "net" if name == "postern" else "luci"),
        ("SourceDateEpoch", str(EPOCH)), ("Maintainer", value("PKG_MAINTAINER")),
        ("Architecture", architecture), ("Description", description)]


def postern(binary, architecture, folder):
    data = {to: (read(f"{HERE}/postern/files/{name}"), mode) for name, to, mode in FILES}
    data["usr/sbin/postern"] = (read(binary), 0o755)
    taken = "miniupnpd-nftables, miniupnpd-iptables"
    # No C library: the program is static.
    more = [("Conflicts", taken), ("Provides", "miniupnpd"), ("Replaces", taken)]
    package(folder, fields("postern", "firewall4, kmod-nft-nat", architecture,
                           "UPnP IGD, NAT-PMP and PCP daemon", more), data,
            {"conffiles": (b"/etc/config/upnpd\n", 0o644),
             "postinst": (POSTINST.encode(), 0o755), "prerm": (PRERM.encode(), 0o755),
             "postinst-pkg": (scripts("postinst"), 0o755), "prerm-pkg": (scripts("prerm"), 0o755)})


def luci(folder):
    data = {}
    for top, place in (("htdocs", "www/"), ("root", "")):
        base = f"{HERE}/luci-app-postern/{top}"
        for where, _, names in os.walk(base):
            for name in names:
                path = os.path.join(where, name)
                mode = 0o755 if os.access(path, os.X_OK) and os.stat(path).st_mode & 0o111 else 0o644
                data[place + os.path.relpath(path, base)] = (read(path), mode)
    other = "luci-app-upnp"
    more = [("Conflicts", other), ("Provides", other), ("Replaces", other)]
    package(folder, fields("luci-app-postern", "luci-base, postern, rpcd-mod-luci", "all",
                           "LuCI pages for postern", more), data,
            {"postinst": (POSTINST.encode(), 0o755), "prerm": (PRERM.encode(), 0o755)})


if __name__ == "__main__":
    {"postern": postern, "luci": luci}[sys.argv[1]](*sys.argv[2:])
