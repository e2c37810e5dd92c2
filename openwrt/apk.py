#!/usr/bin/env python3
"""Writes an .apk package as apk-tools 3 reads it (OpenWrt from 25.12): a table of what there is, then
the files' bytes. It bears no signature. The same input gives the same bytes: owners are root, names
sorted, the time is SOURCE_DATE_EPOCH.

    openwrt/apk.py postern BINARY ARCHITECTURE FOLDER
    openwrt/apk.py luci FOLDER
"""
import hashlib, struct, sys, zlib

import contents
from adb import BLOCK_ADB, BLOCK_DATA, Adb, block

# The fields' numbers in apk's schema of a package.
PACKAGE = {"info": 1, "paths": 2, "scripts": 3}
INFO = {"name": 1, "version": 2, "hashes": 3, "description": 4, "arch": 5, "license": 6, "origin": 7,
        "maintainer": 8, "installed-size": 12, "depends": 15, "provides": 16}
DEPENDENCY = {"name": 1, "version": 2}
FOLDER = {"name": 1, "acl": 2, "files": 3}
FILE = {"name": 1, "acl": 2, "size": 3, "mtime": 4, "hash": 5}
ACL = {"mode": 1, "user": 2, "group": 3}
SCRIPTS = {"post-install": 3, "pre-deinstall": 4, "post-upgrade": 7}
# What identifies a package: so many bytes of a SHA-256 of its table, with zeros in their place.
UNIQUE = 20
# Where OpenWrt's functions look for what opkg keeps itself.
LISTS = "lib/apk/packages"

HEAD = '[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0\n. "${IPKG_INSTROOT}/lib/functions.sh"\n'
NAMES = 'export root="${IPKG_INSTROOT}" pkgname="%s"\n'


def scripts(package):
    """apk runs no script of the old package in an upgrade."""
    names = NAMES % package.name
    install = ('[ "${IPKG_NO_SCRIPT}" != 1 ] || exit 0\n' + HEAD + names
               + ("add_group_and_user\n" if package.user else "") + "default_postinst\n" + package.postinst)
    return {"post-install": "#!/bin/sh\n" + install,
            "pre-deinstall": "#!/bin/sh\n" + HEAD + names + "default_prerm\n" + package.prerm,
            "post-upgrade": "#!/bin/sh\nexport PKG_UPGRADE=1\n" + install}


def with_lists(package):
    """The files, and what OpenWrt's functions and its upgrade of the system need to know of them."""
    base = f"{LISTS}/{package.name}"
    lists = {"list": sorted("/" + path for path in package.files)}
    if package.user:
        lists["rusers"] = [package.user]
    if package.conffiles:
        lists["conffiles"] = package.conffiles
        lists["conffiles_static"] = [
            f"{path} {hashlib.sha256(package.files[path[1:]][0]).hexdigest()}" for path in package.conffiles]
    return {**package.files, **{f"{base}.{kind}": ("".join(f"{line}\n" for line in lines).encode(), 0o644)
                                for kind, lines in lists.items()}}


def dependencies(adb, named):
    """A list of (name, version or nothing)."""
    return adb.object([adb.fields(DEPENDENCY, {"name": adb.blob(name), "version": adb.blob(version)})
                       for name, version in sorted(named)])


def acl(adb, mode):
    return adb.fields(ACL, {"mode": adb.int(mode), "user": adb.blob("root"), "group": adb.blob("root")})


def table(package, files, tree):
    """The package without the bytes of its files."""
    adb = Adb()
    version = f"{package.version}-r{package.release}"
    info = {
        "name": adb.blob(package.name), "version": adb.blob(version),
        "description": adb.blob(package.description),
        "arch": adb.blob("noarch" if package.architecture == "all" else package.architecture),
        "license": adb.blob(package.license), "origin": adb.blob(f"openwrt/{package.name}"),
        "maintainer": adb.blob(package.maintainer),
        "depends": dependencies(adb, [(name, "") for name in package.depends]),
        # With a version: apk lets in one provider only, so nothing else is named as a conflict.
        "provides": dependencies(adb, [(name, version) for name in package.provides])}
    paths = []
    for folder, names in tree:
        entries = []
        for name in names:
            data, mode = files[f"{folder}/{name}".lstrip("/")]
            entries.append(adb.fields(FILE, {
                "name": adb.blob(name), "hash": adb.blob(hashlib.sha256(data).digest()),
                "mtime": adb.int(contents.epoch()), "size": adb.int(len(data)), "acl": acl(adb, mode)}))
        paths.append(adb.fields(FOLDER, {
            "name": adb.blob(folder), "acl": acl(adb, 0o755), "files": adb.object(entries)}))
    info["installed-size"] = adb.int(sum(len(data) for data, _ in files.values()))
    info["hashes"] = adb.blob(bytes(UNIQUE), shared=False)
    unique = len(adb.data) - UNIQUE
    words = {"info": adb.fields(INFO, info), "paths": adb.object(paths)}
    texts = {name: adb.blob(text) for name, text in sorted(scripts(package).items(), key=lambda item: SCRIPTS[item[0]])}
    words["scripts"] = adb.fields(SCRIPTS, texts)
    adb.root(adb.fields(PACKAGE, words))
    adb.data[unique:unique + UNIQUE] = hashlib.sha256(adb.data).digest()[:UNIQUE]
    return bytes(adb.data)


def encode(package):
    """The file before it is compressed."""
    files = with_lists(package)
    tree = [(folder, sorted(path.rpartition("/")[2] for path in files if path.rpartition("/")[0] == folder))
            for folder in contents.folders(files)]
    out = [b"ADB.pckg", block(BLOCK_ADB, table(package, files, tree))]
    for i, (folder, names) in enumerate(tree, 1):
        for j, name in enumerate(names, 1):
            data, _ = files[f"{folder}/{name}".lstrip("/")]
            if data:
                out.append(block(BLOCK_DATA, struct.pack("<II", i, j) + data))
    return b"".join(out)


def write(package, folder):
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"ADBd" + deflate.compress(encode(package)) + deflate.flush()
    architecture = "noarch" if package.architecture == "all" else package.architecture
    contents.write(f"{folder}/{package.name}-{package.version}-r{package.release}_{architecture}.apk", data)


if __name__ == "__main__":
    write(*contents.from_arguments("apk.py", sys.argv[1:]))
