"""A model's weights: safetensors beside a contract, refused where the two do not fit."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from connectomics.errors import ModelError
from connectomics.networks.build import build_network, keep_channels
from connectomics.networks.contract import Contract, write_contract
from connectomics.networks.heads import lasting_channels
from connectomics.networks.models import CONTRACT_FILE, Model, member_weights


def save_model(
    folder: str | Path,
    network: nn.Module | Sequence[nn.Module],
    contract: Contract,
    *,
    half_precision: bool = False,
) -> Path:
    """Write a model folder, without its auxiliary heads.

    Parameters
    ----------
    folder
        Where; made if need be.
    network
        The trained network, as `contract.network` builds it with all heads; of an ensemble, all of them.
        They are left as they were.
    contract
        What it is.
    half_precision
        Store weights as float16 (half the size; they load as float32).

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError
        The contract has no lasting head or another number of members, or the weights hold NaN or infinity.
    """
    members = [network] if isinstance(network, nn.Module) else list(network)
    if len(members) != contract.members:
        raise ModelError(
            f"model '{contract.name}': {len(members)} networks for a contract of {contract.members} members."
        )
    states = [_lasting_state(member, contract, half_precision) for member in members]
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for number, state in enumerate(states):
        weights = member_weights(path, number)
        partial = weights.with_name(weights.name + ".partial")
        save_file(state, partial)
        partial.chmod(0o644)
        partial.replace(weights)
    write_contract(path / CONTRACT_FILE, contract.without_auxiliary())
    return path


def _lasting_state(network: nn.Module, contract: Contract, half: bool) -> dict[str, torch.Tensor]:
    """What is written of one network."""
    channels = lasting_channels(contract.heads)
    if not channels:
        raise ModelError(f"model '{contract.name}': every head is auxiliary; nothing would be left.")
    if len(channels) < contract.out_channels:
        network = keep_channels(copy.deepcopy(network), contract.network, channels)
    state = {name: value.detach().cpu().contiguous() for name, value in _tensors(network).items()}
    bad = [name for name, value in state.items() if not torch.isfinite(value.float()).all()]
    if bad:
        raise ModelError(f"model '{contract.name}': weights that are not finite: {', '.join(bad[:3])}.")
    return {name: _half(value) for name, value in state.items()} if half else state


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers, each once (a state_dict names some of DynUNet's twice)."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def _half(value: torch.Tensor) -> torch.Tensor:
    fits = value.is_floating_point() and value.abs().max() < torch.finfo(torch.float16).max
    return value.half() if fits and value.ndim > 1 else value


def load_network(model: Model, member: int = 0) -> nn.Module:
    """Build a model's network and load its weights: float32, evaluation mode, on the CPU.

    Parameters
    ----------
    model
        The model.
    member
        Which network of an ensemble.

    Raises
    ------
    ModelError
        The weights are damaged, or are those of another architecture; there is no such member.
    """
    contract = model.contract
    if not 0 <= member < contract.members:
        raise ModelError(f"model '{contract.name}': has {contract.members} members, no number {member}.")
    weights = model.all_weights[member]
    network = build_network(contract.network, contract.in_channels, contract.out_channels)
    try:
        state = load_file(weights)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{weights}: damaged or not a safetensors file: {error}.") from None
    _check_shapes(network, state, weights, contract.network.name)
    with torch.no_grad():
        for name, tensor in _tensors(network).items():
            tensor.copy_(state[name])
    return network.float().eval()


def _check_shapes(network: nn.Module, state: dict[str, torch.Tensor], weights: Path, name: str) -> None:
    expected = {name: tuple(value.shape) for name, value in _tensors(network).items()}
    got = {name: tuple(value.shape) for name, value in state.items()}
    if expected == got:
        return
    wrong = sorted(k for k in expected.keys() | got.keys() if expected.get(k) != got.get(k))
    first = wrong[0]
    raise ModelError(
        f"{weights}: not the weights of the contract's {name}: "
        f"{len(wrong)} tensors differ, first '{first}': expected {expected.get(first)}, got {got.get(first)}."
    )
