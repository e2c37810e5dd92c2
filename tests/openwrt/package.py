#!/usr/bin/env python3
"""The .ipk from the outside: members, owners, modes, control fields, scripts; twice the same bytes."""
import gzip, io, json, os, re, subprocess, sys, tarfile, tempfile

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def members(data):
    found = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        assert tar.getnames() == sorted(tar.getnames()), tar.getnames()
        for info in tar:
            assert (info.uid, info.gid, info.uname, info.mtime) == (0, 0, "root", 1700000000), info.name
            if info.isfile():
                found[info.name] = (info.mode, tar.extractfile(info).read())
    return found


with tempfile.TemporaryDirectory() as work:
    binary = f"{work}/binary"
    open(binary, "wb").write(b"program" * 1000)
    packages = []
    for folder in "a", "b":
        subprocess.run([sys.executable, "openwrt/ipk.py", "postern", binary, "mips_24kc", f"{work}/{folder}"],
                       check=True, stdout=subprocess.DEVNULL)
        assert os.listdir(f"{work}/{folder}") == ["postern_0.1.0-1_mips_24kc.ipk"]
        packages.append(open(f"{work}/{folder}/postern_0.1.0-1_mips_24kc.ipk", "rb").read())
    assert packages[0] == packages[1], "two runs differ"
    assert packages[0][4:8] == b"\0\0\0\0", "a time is in the gzip header"

    outer = members(packages[0])
    assert sorted(outer) == ["./control.tar.gz", "./data.tar.gz", "./debian-binary"]
    assert outer["./debian-binary"][1] == b"2.0\n"
    data, control = members(outer["./data.tar.gz"][1]), members(outer["./control.tar.gz"][1])
    assert {name: oct(mode) for name, (mode, _) in data.items()} == {
        "./etc/capabilities/postern.json": "0o644", "./etc/config/upnpd": "0o600",
        "./etc/hotplug.d/dhcp/50-postern": "0o644", "./etc/init.d/postern": "0o755",
        "./etc/uci-defaults/90-postern": "0o755",
        "./usr/sbin/postern": "0o755", "./usr/share/acl.d/postern.json": "0o644", "./usr/share/postern/firewall.sh": "0o755",
        "./usr/share/postern/forward-label.nft": "0o644", "./usr/share/postern/forward-mark.nft": "0o644"}
    assert data["./usr/sbin/postern"][1] == b"program" * 1000
    size = sum(len(content) for _, content in data.values())
    assert control["./control"][1].decode().splitlines() == [
        "Package: postern", "Version: 0.1.0-1", "Depends: firewall4, kmod-inet-diag, kmod-nf-conntrack-netlink, kmod-nft-nat",
        "Conflicts: miniupnpd-nftables, miniupnpd-iptables", "Provides: miniupnpd",
        "Replaces: miniupnpd-nftables, miniupnpd-iptables", "Source: openwrt/postern",
        "SourceName: postern", "License: MIT OR Apache-2.0", "Section: net",
        "Require-User: postern=5351:postern=5351", "SourceDateEpoch: 1700000000", "Maintainer: The Postern authors", "Architecture: mips_24kc",
        f"Installed-Size: {size}", "Description: UPnP IGD, NAT-PMP and PCP daemon"]
    assert control["./conffiles"][1] == b"/etc/config/upnpd\n"
    assert {name: oct(mode) for name, (mode, _) in control.items()} == {
        "./conffiles": "0o644", "./control": "0o644", "./postinst": "0o755",
        "./postinst-pkg": "0o755", "./prerm": "0o755", "./prerm-pkg": "0o755"}

    # The scripts in a root of their own: they call what OpenWrt has, and nothing of this machine.
    root = f"{work}/root"
    os.makedirs(f"{root}/lib")
    open(f"{root}/lib/functions.sh", "w").write(
        'default_postinst() { echo "postinst $2"; }\ndefault_prerm() { echo "prerm $2"; }\n')
    for name, said in (("postinst", "postinst configure\n"), ("prerm", "prerm configure\n"),
                       ("postinst-pkg", ""), ("prerm-pkg", "")):
        path = f"{work}/{name}"
        open(path, "wb").write(control[f"./{name}"][1])
        ran = subprocess.run(["busybox", "ash", path, "configure"], capture_output=True, text=True,
                             env={"IPKG_INSTROOT": root, "PATH": os.environ["PATH"]})
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, said, ""), (name, ran)

    # The LuCI pages take luci-app-upnp's place: rpcd does not bear both.
    subprocess.run([sys.executable, "openwrt/ipk.py", "luci", work], check=True, stdout=subprocess.DEVNULL)
    outer = members(open(f"{work}/luci-app-postern_0.1.0-1_all.ipk", "rb").read())
    pages, luci = members(outer["./data.tar.gz"][1]), members(outer["./control.tar.gz"][1])
    size = sum(len(content) for _, content in pages.values())
    assert luci.pop("./control")[1].decode().splitlines() == [
        "Package: luci-app-postern", "Version: 0.1.0-1", "Depends: luci-base, postern, rpcd-mod-luci",
        "Conflicts: luci-app-upnp", "Provides: luci-app-upnp", "Replaces: luci-app-upnp",
        "Source: openwrt/luci-app-postern", "SourceName: luci-app-postern", "License: MIT OR Apache-2.0",
        "Section: luci", "SourceDateEpoch: 1700000000", "Maintainer: The Postern authors", "Architecture: all",
        f"Installed-Size: {size}",
        "Description: LuCI page for Postern (UPnP IGD, NAT-PMP and PCP)"]
    assert {name: oct(mode) for name, (mode, _) in luci.items()} == {
        "./postinst": "0o755", "./postinst-pkg": "0o755", "./prerm": "0o755"}
    assert (luci["./postinst"], luci["./prerm"]) == (control["./postinst"], control["./prerm"])
    assert b"killall -HUP rpcd" in luci["./postinst-pkg"][1], "rpcd reads access lists when told"
    assert "./usr/share/rpcd/acl.d/luci-app-postern.json" in pages
    assert all(name.startswith(("./www/luci-static/resources/view/", "./usr/share/")) for name in pages), pages

    # What the daemon's user may ask on ubus: nothing that tells what others have configured.
    assert json.loads(data["./usr/share/acl.d/postern.json"][1])["access"] == {
        "network.interface": {"methods": ["status"]}}

    # Whatever feed the folder is: what is included is found from the top of the build system.
    for name in "postern", "luci-app-postern":
        included = re.findall(r"^include (.*)", open(f"openwrt/{name}/Makefile").read(), re.M)
        assert included and all(path.startswith(("$(TOPDIR)/", "$(INCLUDE_DIR)/")) for path in included), included

    makefile = open("openwrt/postern/Makefile").read()
    for _, (mode, content) in data.items():
        assert content
    for name in data:
        assert name == "./etc/config/upnpd" or os.path.basename(name).removeprefix("90-") in makefile
    targets = {line.split()[0] for line in open("cross/targets") if line[0].isalpha()}
    assert targets == {line.split()[0] for line in open("openwrt/architectures") if line[0].isalpha()}
print("openwrt: the package is as it should be")
