"""Where a fine-tune computes: found by itself, and a sentence for what this machine cannot do."""

import pytest
import torch

from organism.errors import DesignError
from organism.optimize.configs import SftConfig
from organism.optimize.machines import Machine, machine, memory_mb, settle, usable_cores


def test_the_machine_is_what_was_asked_or_what_is_there() -> None:
    where = machine(SftConfig(threads=3, bf16=False))
    assert (where.threads, where.bf16, where.four_bit) == (3, False, False)
    assert machine(SftConfig()).threads == usable_cores()
    assert where.device == ("cuda" if torch.cuda.is_available() else where.device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine can hold weights in 4 bits")
def test_four_bits_without_a_graphics_card_are_refused_in_a_sentence() -> None:
    with pytest.raises(
        DesignError, match=r"4-bit weights need an NVIDIA card, and this machine computes on \w+; leave"
    ):
        machine(SftConfig(load_in_4bit=True))


def test_frozen_weights_are_halved_only_on_a_card_that_computes_in_bf16() -> None:
    assert Machine("cuda", True, 1).weights is torch.bfloat16
    assert Machine("cuda", False, 1).weights is torch.float32
    assert Machine("cpu", True, 1).weights is torch.float32


def test_settling_sets_the_threads_of_this_process() -> None:
    before = torch.get_num_threads()
    settle(Machine("cpu", False, 1))
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    assert memory_mb() > 10
