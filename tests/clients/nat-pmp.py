# Opens a TCP and a UDP port by PyPI's NAT-PMP, which finds the gateway by the default route.
# Arguments: internal port; external port; another external port, which it suggests when it renews.
# Renews both when a line comes in, and closes them after another.
import sys

import natpmp

internal, external, other = map(int, sys.argv[1:])
protocols = {"TCP": natpmp.NATPMP_PROTOCOL_TCP, "UDP": natpmp.NATPMP_PROTOCOL_UDP}


def ask(done, port, lifetime):
    for name, protocol in protocols.items():
        answer = natpmp.map_port(protocol, port, internal, lifetime)
        print(done, name, answer.public_port, answer.private_port, answer.lifetime, flush=True)


print("found", natpmp.get_gateway_addr(), flush=True)
print("external address", natpmp.get_public_address(), flush=True)
ask("mapped", external, 600)
sys.stdin.readline()
ask("renewed", other, 1200)
sys.stdin.readline()
# Again, as after an answer that was lost.
for _ in range(2):
    ask("unmapped", 0, 0)
