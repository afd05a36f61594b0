"""GPUs: what their names mean, and a program that tells of them, is missing, fails or hangs."""

from pathlib import Path

import pytest

from worker import gpus


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA RTX A6000", "rtx-a6000"),
        ("Quadro P4000", "p4000"),
    ],
)
def test_a_product_is_called_what_people_write_into_constraints(name, model):
    assert gpus.model_of(name) == model


@pytest.mark.parametrize(
    ("info", "has"),
    [
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, True),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}, True),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "vendor.com/net=0"}]}, False),
        ({"Runtimes": None}, False),
        ({}, False),
    ],
)
def test_whether_the_engine_can_hand_out_gpus(info, has):
    assert gpus.has_toolkit(info) is has


def program(directory: Path, text: str) -> str:
    path = directory / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_the_program_is_asked_for_names(tmp_path):
    asked = '[ "$*" = "--query-gpu=name --format=csv,noheader" ] || exit 9'
    found = await gpus.names(program(tmp_path, f"{asked}; echo 'NVIDIA A100-SXM4-40GB'; echo 'NVIDIA A100-SXM4-80GB'"))
    assert found == ["NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB"]
    assert gpus.common_model(found) == "a100"
    assert gpus.common_model([*found, "Tesla T4"]) == ""
    assert gpus.common_model([]) == ""


async def test_a_program_that_is_missing_fails_or_hangs_tells_nothing(tmp_path, monkeypatch):
    assert await gpus.names(str(tmp_path / "none")) is None
    assert await gpus.names(program(tmp_path, "echo 'No devices were found'; exit 6")) is None
    monkeypatch.setattr(gpus, "PATIENCE_S", 0.05)
    assert await gpus.names(program(tmp_path, "exec sleep 600")) is None
