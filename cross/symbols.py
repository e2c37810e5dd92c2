"""Sums the code in `readelf --wide --symbols` by crate and by part of Postern.

A function belongs to the crate that defines it, so what the compiler put into its callers counts
there, and what another crate's generic code became for Postern counts for that crate.
"""

import re
import sys
from collections import Counter

crates = Counter()
parts = Counter()
for line in sys.stdin:
    fields = line.split()
    if len(fields) < 8 or fields[3] != "FUNC":
        continue
    size = int(fields[2], 0)
    # Rust's v0 mangling: the first crate root `C`, its disambiguator `s…_`, and length and name.
    root = re.match(r"_R[A-Za-z0-9_]*?C(?:s[0-9A-Za-z]*_)?(\d+)", fields[7])
    if not root:
        crates["C library"] += size
        continue
    start = root.end() + (fields[7][root.end()] == "_")
    end = start + int(root[1])
    crate = fields[7][start:end]
    crates[crate] += size
    if crate == "postern":
        part = re.match(r"(\d+)_?([a-z][a-z0-9_]*)", fields[7][end:])
        parts[part[2][: int(part[1])] if part else "(other)"] += size

for title, sums in (("crate", crates), ("part of postern", parts)):
    print(f"\n{title:<24} {'code':>8}")
    for name, size in sums.most_common():
        if size >= 100:
            print(f"{name:<24} {size:>8}")
    print(f"{'':<24} {sum(sums.values()):>8}")
