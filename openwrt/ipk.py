#!/usr/bin/env python3
"""Writes an .ipk package as opkg reads it (OpenWrt up to 24.10): a compressed tar of three members.
The same input gives the same bytes: owners are root, names sorted, the time is SOURCE_DATE_EPOCH.

    openwrt/ipk.py postern BINARY ARCHITECTURE FOLDER
    openwrt/ipk.py luci FOLDER
"""
import io, sys, tarfile, zlib

import contents

# opkg calls these; OpenWrt's functions find the `…-pkg` scripts and the services by the file's name.
HEAD = '[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0\n. "${IPKG_INSTROOT}/lib/functions.sh"\n'
POSTINST = '#!/bin/sh\n[ "${IPKG_NO_SCRIPT}" != 1 ] || exit 0\n' + HEAD + 'default_postinst "$0" "$@"\n'
PRERM = "#!/bin/sh\n" + HEAD + 'default_prerm "$0" "$@"\n'


def tar(files):
    """A compressed tar of {path: (bytes, mode)} with the folders above each."""
    names = {**dict.fromkeys(contents.folders(files)), **files}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name in sorted(names):
            info = tarfile.TarInfo("./" + name)
            info.mtime, info.uname, info.gname = contents.epoch(), "root", "root"
            if names[name] is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                out.addfile(info)
            else:
                data, info.mode = names[name]
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
    # 31: a gzip header, which names no file and no time.
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    return deflate.compress(plain.getvalue()) + deflate.flush()


def control(package):
    """The fields. With both Conflicts and Replaces opkg removes what is in the way."""
    size = sum(len(data) for data, _ in package.files.values())
    conflicts = ", ".join(package.conflicts)
    fields = [
        ("Package", package.name), ("Version", f"{package.version}-{package.release}"),
        ("Depends", ", ".join(package.depends)), ("Conflicts", conflicts),
        ("Provides", ", ".join(package.provides)), ("Replaces", conflicts),
        ("Source", f"openwrt/{package.name}"), ("SourceName", package.name), ("License", package.license),
        ("Section", package.section), ("Require-User", package.user), ("SourceDateEpoch", contents.epoch()),
        ("Maintainer", package.maintainer), ("Architecture", package.architecture),
        ("Installed-Size", size), ("Description", package.description)]
    return "".join(f"{key}: {value}\n" for key, value in fields if value != "")


def write(package, folder):
    meta = {"control": (control(package), 0o644), "postinst": (POSTINST, 0o755), "prerm": (PRERM, 0o755)}
    if package.conffiles:
        meta["conffiles"] = ("".join(f"{path}\n" for path in package.conffiles), 0o644)
    for name in "postinst", "prerm":
        if body := getattr(package, name):
            meta[f"{name}-pkg"] = ("#!/bin/sh\n" + body, 0o755)
    meta = {name: (text.encode(), mode) for name, (text, mode) in meta.items()}
    name = f"{package.name}_{package.version}-{package.release}_{package.architecture}.ipk"
    contents.write(f"{folder}/{name}", tar({
        "debian-binary": (b"2.0\n", 0o644),
        "data.tar.gz": (tar(package.files), 0o644),
        "control.tar.gz": (tar(meta), 0o644)}))


if __name__ == "__main__":
    write(*contents.from_arguments("ipk.py", sys.argv[1:]))
