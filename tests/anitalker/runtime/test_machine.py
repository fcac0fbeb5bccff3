"""What is said of the machine."""

import builtins
import os
import platform

import torch

from anitalker.runtime import machine


def test_the_machine_of_the_tests():
    facts = machine.describe_machine(torch.device("cpu"))
    assert set(facts) == set(machine.MachineFacts.__annotations__)
    assert facts["device"] == "cpu" and facts["device_name"] == facts["processor"] != ""
    assert 1 <= facts["usable_cores"] <= facts["cores"] == os.cpu_count()
    assert facts["torch"] == torch.__version__


def test_a_system_without_cpuinfo(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(builtins, "open", missing)
    assert machine.processor_name() == "riscv64"
