"""What loosens a container is refused unless a policy allows just that; what tightens never is."""

import pytest

from swarmsync.model.policy import NOTHING, Allowance, loosens, refused, together
from swarmsync.protocol.codec import convert_spec

LOOSE = [
    ({"volumes": ["/data/in:/in:ro"]}, ".volumes[0]", Allowance(paths=("/data",))),
    ({"volumes": [{"type": "bind", "source": "/data", "target": "/x"}]}, ".volumes[0]", Allowance(paths=("/data/",))),
    (
        {"security": {"capabilities": ["SYS_PTRACE"]}},
        ".security.capabilities[0]",
        Allowance(capabilities=("CAP_SYS_PTRACE",)),
    ),
    ({"security": {"devices": ["/dev/fuse"]}}, ".security.devices[0]", Allowance(devices=("/dev/fuse",))),
    ({"security": {"privileged": True}}, ".security.privileged", Allowance(privileged=True)),
    ({"network": "host"}, ".network", Allowance(machine_network=True)),
]


def spec(**fields):
    return convert_spec({"image": "alpine", **fields})


@pytest.mark.parametrize(("fields", "path", "allowance"), LOOSE)
def test_each_thing_needs_its_own_leave(fields, path, allowance):
    assert [place for place, _ in refused(spec(**fields), NOTHING)] == [path]
    assert list(refused(spec(**fields), allowance)) == []
    others = together(
        other
        for _, _, other in LOOSE
        if type(other) is Allowance and other != allowance and not (other.paths and allowance.paths)
    )
    assert [place for place, _ in refused(spec(**fields), others)] == [path]
    assert loosens(spec(**fields))


@pytest.mark.parametrize(
    "path", ["/database", "/", "/data2", "/dat", "/data/../etc"],
)  # fmt: skip
def test_a_path_allows_only_what_lies_below_it(path):
    wanted = spec(volumes=[{"type": "bind", "source": path, "target": "/x"}])
    assert list(refused(wanted, Allowance(paths=("/data",)))) != []


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"volumes": ["cache:/c", {"type": "tmpfs", "target": "/t"}]}, {"network": "none"}, {"network": "batch"},
        {"security": {"profile": "strict"}}, {"security": {"read_only": True}}, {"user": "1000"},
    ],
)  # fmt: skip
def test_what_tightens_needs_nobodys_leave(fields):
    assert not loosens(spec(**fields))


def test_a_policy_may_demand_the_strict_profile():
    demand = Allowance(strict=True)
    assert [place for place, _ in refused(spec(), demand)] == [".security.profile"]
    assert list(refused(spec(security={"profile": "strict"}), demand)) == []
    assert together([demand, Allowance(paths=("/data",))]).strict
